"""The web process: takes webhooks in, tells what became of them."""
