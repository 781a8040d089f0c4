"""The worker process: delivers."""
