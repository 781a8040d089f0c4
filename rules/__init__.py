"""The decisions: pure functions from data to data. No I/O, no clock."""
