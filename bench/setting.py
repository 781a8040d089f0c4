"""The settings that the measured bridge runs with: its own, and none of the caller's."""

from bench.hubspot import SECRET
from bench.processes import HOST

THREADS = 64
API_KEY = "bench"
TOKEN = "bench"  # noqa: S105  (of a bridge that is gone a minute later)
AGENT = "6803fa770b666a64ab1694c1e"

# One route for thin events, as HubSpot sends them; one for events that are complete.
ROUTES = f"""
[[route]]
name     = "call new leads"
source   = "hubspot"
event    = "contact.created"
match    = "changeSource != 'IMPORT'"
to       = "call"
campaign = {{ name = "Bench", period = "month" }}
[route.request]
to_number = "properties.phone"
agent_id  = {{ value = "{AGENT}" }}
[route.request.metadata]
name = "properties.firstname"

[[source]]
name = "form"
kind = "generic"
auth = "token"

[[route]]
name     = "call back"
source   = "form"
event    = "form.submitted"
to       = "call"
campaign = {{ name = "Bench", period = "month" }}
[route.request]
to_number = "phone"
agent_id  = {{ value = "{AGENT}" }}
number_of_retries   = {{ value = 2 }}
gap_between_retries = {{ value = [30, 60] }}
[route.request.metadata]
name = "name"
city = "city"
"""


def bridge_env(*, redis_url: str, api_port: int) -> dict[str, str]:
    """Return the environment of a bridge that calls the API on api_port."""
    return {
        "REDIS_URL": redis_url,
        "API_TOKEN": TOKEN,
        "CALLKARO_API_KEY": API_KEY,
        "CALLKARO_BASE_URL": f"http://{HOST}:{api_port}",
        "CALLING_HOURS": "always",
        "WORKER_THREADS": str(THREADS),
        "HUBSPOT_WEBHOOK_SECRET": SECRET,
        "HUBSPOT_ACCESS_TOKEN": "bench",
        "HUBSPOT_API_URL": f"http://{HOST}:{api_port}",
        "FORM_WEBHOOK_SECRET": TOKEN,
        "ROUTES_TOML": ROUTES,
    }
