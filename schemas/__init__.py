"""The data and the pure rules on it: no I/O, no clock, no environment."""
