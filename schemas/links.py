"""Where links lead: to the record in the CRM, to the campaign and to the call at CallKaro.

CallKaro's links may have the number of the person. A link can't be masked, so it is not shown then.
"""

import operator
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from schemas.delivery import Delivery
from schemas.headline import Headline
from schemas.outcome import INBOUND, Outcome
from schemas.settings import CALLKARO_APP_URL, Settings
from schemas.web_address import has_number

APP_URL = "APP_URL"  # the suffix of a source's variable: <SOURCE>_APP_URL


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """The addresses that people open in a browser, without a slash at the end."""

    callkaro: str = CALLKARO_APP_URL
    # By source; a source that is not here has no links to its records.
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, settings: Settings) -> "Addresses":
        """Return the addresses of these settings."""
        named = {name: given.get(APP_URL) for name, given in settings.variables.items()}
        return cls(
            callkaro=settings.callkaro_app_url,
            sources={name: url for name, url in named.items() if url},
        )


def links_of(delivery: Delivery, addresses: Addresses) -> dict[str, str | None]:
    """Return the links of a delivery, absolute URLs; None where nothing says where it leads."""
    app = addresses.sources.get(delivery.source)
    record = None
    if app and delivery.record_page and delivery.subject:
        record = f"{app}/{delivery.record_page}{_escaped(delivery.subject)}"
    campaign = None
    if delivery.batch_id:
        campaign = campaign_link(delivery.batch_id, addresses)
    call = delivery.headline.call_link if delivery.headline else None
    return {"record": record, "campaign": campaign, "call": call}


def campaign_link(batch_id: str, addresses: Addresses) -> str:
    """Return the address of a campaign: the campaign page of CallKaro's API reference."""
    return f"{addresses.callkaro}/dashboard/batch-calls/{_escaped(batch_id)}"


_Linking = TypeVar("_Linking", Headline, Outcome)
_OF_CALLKARO: Final = ("recording_url", "call_link")  # of a headline, and of an outcome


def without_numbers(delivery: Delivery) -> Delivery:
    """Return a delivery whose links do not have the number of its person: such a link is None."""
    number, headline = delivery.number, delivery.headline
    shown = headline and _without_number(headline, number)
    outcomes = tuple(
        # A person may call from another number, which is not kept.
        _without_number(one, None if one.try_count == INBOUND else number)
        for one in delivery.outcomes
    )
    if shown is headline and all(map(operator.is_, outcomes, delivery.outcomes)):
        return delivery  # to copy it takes as long as the rest
    return replace(delivery, headline=shown, outcomes=outcomes)


def _without_number(of: _Linking, number: str | None) -> _Linking:
    links = {name: getattr(of, name) for name in _OF_CALLKARO}
    hidden: dict[str, Any] = {
        name: None for name, url in links.items() if url and has_number(url, number)
    }
    return replace(of, **hidden) if hidden else of


_UNRESERVED = frozenset(f"{string.ascii_letters}{string.digits}-._~".encode())


def _escaped(text: str) -> str:
    """Return a text as one part of a URL's path."""
    octets = text.encode("utf-8", "replace")
    return "".join(chr(one) if one in _UNRESERVED else f"%{one:02X}" for one in octets)
