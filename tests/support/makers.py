"""What the pure tests build their cases from: a routes.toml, settings, an event, a claim."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from schemas.crm import kinds
from schemas.delivery import Delivery, Status
from schemas.event import Event
from schemas.hours import ALWAYS
from schemas.records import Claim
from schemas.route import Routes
from schemas.routes_toml import RoutesError, load_routes
from schemas.settings import Settings

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)  # 11:30 in Asia/Kolkata, a Friday
NUMBER = "+919876543210"  # the number of CallKaro's own samples
AGENT = "6803fa770b666a64ab1694c1e"
FILE = "routes.toml"

CALL = f"""
[[route]]
name   = "call new leads"
source = "generic"
event  = "form.submitted"
to     = "call"
[route.request]
to_number = "phone"
agent_id  = {{ value = "{AGENT}" }}
"""


@cache
def load(text: str) -> Routes:
    """Compile the text of a routes.toml. Nothing changes routes, so tests share them."""
    return load_routes(text, file=FILE, kinds=kinds())


def problems(text: str) -> list[str]:
    """Return what is wrong with a routes.toml, a sentence each; none if it loads."""
    try:
        load(text)
    except RoutesError as error:
        return error.problems
    return []


def call_route(keys: str = "", request: str = "", *, metadata: str = "") -> str:
    """Return a [[route]] to call, with more lines in it, in its request and in its metadata."""
    head, table, mapped = CALL.partition("[route.request]")
    return f"{head}{keys}\n{table}{mapped}{request}\n[route.request.metadata]\n{metadata}\n"


def campaign_route(keys: str = "", request: str = 'name = "title"') -> str:
    """Return a [[route]] that makes campaigns."""
    return f"""
[[route]]
name   = "make campaigns"
source = "generic"
event  = "campaign.created"
to     = "campaign"
{keys}
[route.request]
{request}
"""


def settings(routes: str = CALL, **more: Any) -> Settings:
    """Return settings over a routes.toml, with no calling hours unless they are asked for."""
    return Settings(
        **{
            "redis_url": "redis://localhost:1/0",
            "api_tokens": ("t",),
            "callkaro_api_key": "k",
            "routes": load(routes),
            "calling_hours": ALWAYS,
            **more,
        }
    )


def event(data: Any, **more: Any) -> Event:
    """Return an event that happened and came in just now."""
    return Event(
        **{
            "id": "e1",
            "source": "generic",
            "source_event_id": "s1",
            "fingerprint": "f1",
            "remember_s": 60,
            "type": "form.submitted",
            "subject": None,
            "time": NOW,
            "received_at": NOW,
            "data": data,
            **more,
        }
    )


def delivery(**more: Any) -> Delivery:
    """Return a delivery that was claimed for the third time."""
    return Delivery(
        **{
            "id": "d1",
            "event_id": "e1",
            "source": "generic",
            "subject": None,
            "route": "call new leads",
            "to": "call",
            "routes": "0" * 12,
            "status": Status.QUEUED,
            "order": 1,
            "created_at": NOW,
            "lease": 3,
            **more,
        }
    )


def claim(
    data: Any, *, happened: Mapping[str, Any] | None = None, kept: bool = True, **more: Any
) -> Claim:
    """Return a claimed delivery with its event; kept False: the event's record is gone."""
    return Claim(delivery=delivery(**more), event=event(data, **(happened or {})) if kept else None)
