"""What makes a run fast: the plan, the cores, which rows share a batch, and cheaper steps on a CPU."""
