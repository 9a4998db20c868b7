"""Train, run again, compare."""
