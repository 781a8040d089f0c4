"""What these tests use is installed by `make clients` alone."""

from importlib.util import find_spec

NEEDED = {
    "test_generated_client.py": "openapi_python_client",
    "test_hubspot_client.py": "hubspot",
    "test_standard_webhooks.py": "standardwebhooks",
    "test_zoho_client.py": "zohocrmsdk",
}
collect_ignore_glob = [file for file, package in NEEDED.items() if not find_spec(package)]
