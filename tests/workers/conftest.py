"""A web process and a drain with one route."""

import pytest
from support import CALL_BACK, Web
from support.draining import MakeSettings, OpenWeb

from schemas.settings import Settings


@pytest.fixture
def plain(make_settings: MakeSettings) -> Settings:
    """Settings with one route, which calls whoever fills in the form."""
    return make_settings(CALL_BACK)


@pytest.fixture
def form(open_web: OpenWeb, plain: Settings) -> Web:
    """The web process of those settings."""
    return open_web(plain)
