"""A HubSpot app for the routes of a source: the files that `hs project upload` sends to HubSpot.

HubSpot makes a private app from a project of files. Their form, as looked up on 2026-11-29 in
copies of these pages; HubSpot's own @hubspot/project-parsing-lib 0.23.0 reads them, too:

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/app-configuration
https://developers.hubspot.com/docs/apps/developer-platform/add-features/configure-webhooks
https://developers.hubspot.com/docs/developer-tooling/platform/versioning
https://github.com/HubSpot/hubspot-project-components/tree/main/2026.03

Subscriptions have the form `object.*`, which HubSpot recommends ("the standard array to include").
Their notifications name the object by its type id, which schemas/crm/hubspot.py reads. Only
`contact.privacyDeletion` has no such form.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas.crm.hubspot import HAPPENED, OBJECT_TYPES
from schemas.crm.hubspot_check import BASIC_SCOPE, SCOPES, scopes_of
from schemas.expression import Expression
from schemas.route import Route, Routes
from schemas.source import Source
from schemas.web_address import origin_of

PLATFORM_VERSION: Final = "2026.03"
"""HubSpot supports a version for 18 months; it builds no project of an older one."""

PROJECT_FILE: Final = "hsproject.json"
APP_FILE: Final = "src/app/app-hsmeta.json"
WEBHOOKS_FILE: Final = "src/app/webhooks/webhooks-hsmeta.json"

# An association's subscription needs more than an object and is left out.
SUBSCRIBED: Final = ("creation", "propertyChange", "deletion", "merge", "restore")
PRIVACY_DELETION: Final = "contact.privacyDeletion"
MAX_CONCURRENT_REQUESTS: Final = 10  # HubSpot's own default
LONGEST_NAME: Final = 200


class HubSpotAppError(ValueError):
    """No app can be written. Each of `problems` is a sentence that says what to change."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Subscription:
    """What HubSpot tells the app: an object's creation, or the change of one of its properties."""

    object_type: str  # "contact"
    happened: str  # HubSpot's word: "creation"
    property_name: str = ""  # of a propertyChange

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `crmObjects`."""
        named = {"propertyName": self.property_name} if self.property_name else {}
        return {
            "subscriptionType": f"object.{self.happened}",
            "objectType": self.object_type,
            **named,
            "active": True,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class HubSpotApp:
    """An app in one HubSpot account. notes: sentences about what it does not subscribe to."""

    name: str
    target_url: str
    subscriptions: tuple[Subscription, ...]
    notes: tuple[str, ...] = ()
    writes: bool = False  # whether a route tells HubSpot of its calls

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return what the app may read: the objects of its events. Contacts can be erased.

        If it writes, it may write these, too; calls have the scope of contacts.
        """
        objects = frozenset({"contact", *(one.object_type for one in self.subscriptions)})
        written = objects if self.writes else frozenset[str]()
        return (BASIC_SCOPE, *sorted(scopes_of(objects, written)))

    def files(self, *, before: Any = None) -> dict[str, Any]:
        """Return the content of each file of the project, by its path.

        before: the content of the webhooks file that this one replaces; None: there is none. What
        it subscribes to and the app does not is kept, inactive.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return {
            PROJECT_FILE: {
                "name": slug or "callkaro-bridge",
                "srcDir": "src",
                "platformVersion": PLATFORM_VERSION,
            },
            APP_FILE: {"uid": "callkaro_bridge_app", "type": "app", "config": self._config()},
            WEBHOOKS_FILE: {
                "uid": "callkaro_bridge_webhooks",
                "type": "webhooks",
                "config": self._webhooks(before),
            },
        }

    def _config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": "Sends events to CallKaro Bridge, which calls leads by CallKaro.",
            "distribution": "private",
            # Static: one account, one access token that does not expire.
            "auth": {"type": "static", "requiredScopes": list(self.scopes)},
            "permittedUrls": {"fetch": [], "iframe": [], "img": []},
        }

    def _webhooks(self, before: Any) -> dict[str, Any]:
        active = [one.as_json() for one in self.subscriptions]
        return {
            "settings": {
                "targetUrl": self.target_url,
                "maxConcurrentRequests": MAX_CONCURRENT_REQUESTS,
            },
            "subscriptions": {
                "crmObjects": [*active, *_no_longer(before, active)],
                "hubEvents": [{"subscriptionType": PRIVACY_DELETION, "active": True}],
            },
        }


def _no_longer(before: Any, active: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what an earlier webhooks file subscribed to and this one does not, inactive.

    `hs project upload` is said to refuse a file that leaves out a subscription; HubSpot's pages do
    not mention it. An inactive one sends nothing.
    """
    for name in ("config", "subscriptions", "crmObjects"):
        before = before.get(name) if isinstance(before, dict) else None
    entries = before if isinstance(before, list) else []
    for entry in entries:
        if isinstance(entry, dict) and {**entry, "active": True} not in active:
            yield {**entry, "active": False}


def app_for(routes: Routes, source: Source, *, url: str, name: str) -> HubSpotApp:
    """Return the app that sends what the routes and the opt_out of a source need.

    url: the bridge's own https address, without /webhooks/<source>. Raises HubSpotAppError.
    """
    problems: list[str] = []
    notes: list[str] = []
    target = _target(url, source, problems)
    if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME:
        problems.append(f"--name: write 1 to {LONGEST_NAME} characters, without spaces around them")
    found = {
        one
        for route in routes.routes
        if route.source == source.name
        for one in _of_route(route, source, problems, notes)
    }
    found.update(_of_opt_out(source.opt_out, notes))
    if problems:
        raise HubSpotAppError(problems)
    return HubSpotApp(
        name=name,
        target_url=target,
        subscriptions=tuple(sorted(found)),
        notes=tuple(notes),
        writes=any(one.source == source.name and one.write_back for one in routes.routes),
    )


def _target(url: str, source: Source, problems: list[str]) -> str:
    path = f"/webhooks/{source.name}"
    base = url.rstrip("/").removesuffix(path)
    if not (origin_of(base) or "").startswith("https://") or "?" in base or "#" in base:
        problems.append(
            "--url: write the https address of the bridge, such as https://bridge.example: "
            "HubSpot sends to https alone"
        )
    return base + path


def _of_route(
    route: Route, source: Source, problems: list[str], notes: list[str]
) -> Iterator[Subscription]:
    where = f"route {route.name!r}: event {route.event!r}"
    wanted = [
        (name, word)
        for name in sorted(OBJECT_TYPES.values())
        for word in SUBSCRIBED
        if route.wants(source.name, f"{name}.{HAPPENED[word]}")
    ]
    objects = sorted({name for name, _ in wanted})
    if len(objects) > 1:
        problems.append(
            f"{where} covers {', '.join(objects)}: write a route for each object that you want, "
            f"such as {objects[0]}.created"
        )
        return
    without = (source.kind.default_type, *source.kind.erased_by)  # needs no subscription of its own
    if not wanted and not any(route.wants(source.name, event_type) for event_type in without):
        happened = ", ".join(HAPPENED[word] for word in SUBSCRIBED)
        problems.append(
            f"{where} is none that an app can send. Write one of {', '.join(SCOPES)}, a dot, and "
            f"one of {happened}"
        )
    for name, word in wanted:
        if word != "propertyChange":
            yield Subscription(object_type=name, happened=word)
            continue
        properties = _properties(route.match) | _properties(route.when)
        if not properties:
            is_exact = route.event == f"{name}.{HAPPENED[word]}"
            (problems if is_exact else notes).append(
                f"{where}: HubSpot sends the changes of properties that a subscription names. "
                "Name them in `match`: propertyName == 'lifecyclestage'"
            )
        for one in properties:
            yield Subscription(object_type=name, happened=word, property_name=one)


def _of_opt_out(opt_out: Expression | None, notes: list[str]) -> Iterator[Subscription]:
    properties = _properties(opt_out)
    if opt_out is not None and not properties:
        notes.append(
            "opt_out reads no notification, so an opt-out is seen only before a call. To see it at "
            "once, add: propertyName == 'do_not_call' && propertyValue == 'true'"
        )
    for name in properties:
        yield Subscription(object_type="contact", happened="propertyChange", property_name=name)


def _properties(expression: Expression | None) -> frozenset[str]:
    """Return the properties whose changes an expression looks for."""
    return expression.compared_with("propertyName") if expression else frozenset()
