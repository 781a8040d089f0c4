"""`make run` and `make demo`: everything at once, and no phone rings."""
