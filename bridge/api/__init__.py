"""/api: for programs and the command line."""
