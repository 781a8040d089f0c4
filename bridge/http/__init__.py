"""HTTP that is common to all views: bodies, request ids, security headers, addresses."""
