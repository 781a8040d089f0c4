"""The time of an event, from the webhook to the worker."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support import WEBSITE, Web, lead, route

from schemas.settings import Settings
from store import Store

MakeSettings = Callable[..., Settings]
OpenWeb = Callable[[Settings], Web]
RunDrain = Callable[..., Any]
ZONE = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead of UTC
ROUTES = WEBSITE + 'timezone = "Pacific/Kiritimati"\n' + route(max_age='"1h"')


@pytest.mark.parametrize(
    ("form", "back", "is_called"),
    [
        ("%Y-%m-%d", timedelta(0), True),
        ("%Y%m%d", timedelta(0), True),
        ("%G-W%V-%u", timedelta(days=2), False),
        ("%Y%m%d", timedelta(days=2), False),
        ("%Y%m%d%H%M%S", timedelta(minutes=10), True),
        ("%Y-%m-%d %H:%M", timedelta(minutes=10), True),
        ("%Y%m%dT%H%M", timedelta(hours=2), False),
        # What can't be the time of an event counts as not given.
        ("2612-%m-%d", timedelta(0), True),
        ("-5", timedelta(0), True),
    ],
)
def test_a_lead_is_as_old_as_its_sources_time_says(
    make_settings: MakeSettings,
    open_web: OpenWeb,
    store: Store,
    run_drain: RunDrain,
    form: str,
    back: timedelta,
    is_called: bool,
) -> None:
    settings = make_settings(ROUTES)
    at = (datetime.now(ZONE) - back).strftime(form)
    [one] = open_web(settings).send("website", lead(submitted_at=at))

    run_drain(settings)

    found = store.delivery(one)
    assert found
    assert (found.status, found.reason) == (
        ("delivered", None) if is_called else ("skipped", "too_old")
    )
