"""Try a body shows what the CRM would be told of the call, too."""

from typing import Any

from support import SECRETS, route
from support.draining import MakeSettings, OpenWeb
