"""What every request passes: its body, its id, and the headers of each answer."""
