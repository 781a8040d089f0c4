"""The settings of the bridge, read once at the start; and how logs are written."""
