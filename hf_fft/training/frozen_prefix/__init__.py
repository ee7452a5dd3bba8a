"""Frozen layers once: what they give is computed once a row, kept on disk, and used in their place."""
