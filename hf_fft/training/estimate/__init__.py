"""What a run will take, told before it trains: memory, time, and what would make it fit."""
