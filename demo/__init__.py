"""`make run` and `make demo`: everything at once, without anybody being rung."""
