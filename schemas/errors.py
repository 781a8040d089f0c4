"""Everything that can go wrong, named by what to do next.

BridgeError
├── SettingsError           the boot stops: mend the environment or routes.toml, all of it at once
├── RequestError            answer whoever asked; nothing is stored
│   ├── UnknownSource           404  no such source, or it has no secret
│   ├── BadSignature            401  forged, stale, or unsigned
│   ├── TooLarge                413
│   ├── UnknownHost             400  a host name that is neither PUBLIC_URL's nor in ALLOWED_HOSTS
│   ├── UnsupportedMedia        415  neither JSON nor a form
│   ├── BadPayload              400  can't be parsed at all
│   ├── BadQuery                400  a filter or cursor of the API makes no sense
│   ├── Unauthorized            401  the API without its token
│   ├── TooMany                 429  too many tries to sign in
│   ├── Conflict                409  the delivery does not stand where that could be done to it
│   ├── Migrating               503  records of an earlier release are still being moved
│   └── NotFound                404
└── StoreUnavailable        503  Redis is away, read-only or nearly full: ask again later

An authentic item that fits no shape or no route is no error: its sender can't mend it. It is
kept as unreadable or unrouted, shown, and can be replayed. What a failed attempt at CallKaro
means is no exception either: workers/callkaro.py returns it as data.
"""

from typing import ClassVar


class BridgeError(Exception):
    """The root of all errors of ours."""


class SettingsError(BridgeError):
    """The environment or the routes can't be used. The message names everything to mend."""


class RequestError(BridgeError):
    """A request that can't be served; the message goes to its sender and names no secret."""

    status_code: ClassVar[int] = 400
    word: ClassVar[str] = "bad_request"


class UnknownSource(RequestError):
    """No source of that name, or one without a secret."""

    status_code = 404
    word = "unknown_source"


class BadSignature(RequestError):
    """The request does not prove that its source sent it, or is stale."""

    status_code = 401
    word = "bad_signature"


class TooLarge(RequestError):
    """The body is over the limit."""

    status_code = 413
    word = "too_large"


class UnsupportedMedia(RequestError):
    """The body is neither JSON nor a form."""

    status_code = 415
    word = "unsupported_media"


class UnknownHost(RequestError):
    """Asked under a host name that is not one of the bridge's: add it to ALLOWED_HOSTS."""

    status_code = 400
    word = "unknown_host"


class BadPayload(RequestError):
    """The body says it is JSON or a form and is not."""

    status_code = 400
    word = "bad_payload"


class BadQuery(RequestError):
    """A filter, a limit or a cursor that makes no sense."""

    status_code = 400
    word = "bad_query"


class Unauthorized(RequestError):
    """The API was asked without its token."""

    status_code = 401
    word = "unauthorized"


class TooMany(RequestError):
    """Too many tries to sign in to the dashboard."""

    status_code = 429
    word = "too_many"


class NotFound(RequestError):
    """There is nothing under that address."""

    status_code = 404
    word = "not_found"


class Conflict(RequestError):
    """What was asked for can't be done to it as it stands now; the message says what to do."""

    status_code = 409
    word = "conflict"


class Migrating(RequestError):
    """Records of an earlier release are still being moved to this release's names."""

    status_code = 503
    word = "migrating"


class StoreUnavailable(BridgeError):
    """Redis is away, read-only, or too full to take new work."""

    status_code: ClassVar[int] = 503
    word: ClassVar[str] = "store_unavailable"
