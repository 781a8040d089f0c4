"""The warnings of the overview, each with the page that shows what it is about."""

import re
from collections.abc import Iterable
from typing import Any, Final

from flask import url_for

# The banners show these on every page.
IN_A_BANNER: Final = re.compile(
    r"paused: |DRY_RUN is on|ALLOW_NUMBERS is set|no worker is running|the workers are suspended"
)
OVERVIEW, LIST, ROUTES = "dashboard.overview", "dashboard.deliveries", "dashboard.routes"
# How a warning begins, and where it leads: the first that matches counts.
LEADS_TO: Final[tuple[tuple[re.Pattern[str], str, dict[str, Any]], ...]] = tuple(
    (re.compile(begins), endpoint, values)
    for begins, endpoint, values in (
        (r"\d+ unknown\b", LIST, {"status": "unknown"}),
        (r"\d+ held as bulk\b", LIST, {"status": "held", "reason": "bulk"}),
        (r"CallKaro did not\b", OVERVIEW, {"_anchor": "callkaro"}),
        (r"(the )?Redis\b", OVERVIEW, {"_anchor": "redis"}),
        (r"(background tasks fail|\d+ put aside)\b", OVERVIEW, {"_anchor": "now"}),
        (r"source '", ROUTES, {"_anchor": "sources"}),
        (r"(there is no \[\[route\]\]|route '|CALLING_HOURS )", ROUTES, {}),
    )
)


def with_links(warnings: Iterable[str]) -> list[tuple[str, str | None]]:
    """Return each warning that no banner shows, and the address that it leads to.

    None: no page shows what it is about, such as a setting.
    """
    return [(one, _address(one)) for one in warnings if not IN_A_BANNER.match(one)]


def _address(warning: str) -> str | None:
    for begins, endpoint, values in LEADS_TO:
        if begins.match(warning):
            return url_for(endpoint, **values)
    return None
