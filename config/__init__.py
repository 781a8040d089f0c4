"""The settings: what our own people write, read once at the start; and how logs are written."""
