"""All errors, named by what to do next.

BridgeError
├── SettingsError           the start stops: fix the environment or routes.toml, everything at once
├── RequestError            answer the sender; store no event
│   ├── UnknownSource           404  there is no such source, or it has no secret
│   ├── BadSignature            401  forged, too old, or unsigned
│   ├── WrongMethod             405  the source sends no lead in a query
│   ├── TooLarge                413
│   ├── UnknownHost             400  the host name is neither PUBLIC_URL's nor in ALLOWED_HOSTS
│   ├── UnsupportedMedia        415  not JSON or a form, or not what its CRM sends
│   ├── BadPayload              400  can't be parsed at all
│   ├── BadQuery                400  a filter or a cursor of the API makes no sense
│   ├── Unauthorized            401  the API without its token
│   ├── Forbidden               403  the role of the token does not allow it
│   ├── Busy                    503  too many long answers at once: try again in a moment
│   ├── TooMany                 429  too many attempts to sign in
│   ├── Conflict                409  the delivery's present status does not allow it
│   ├── Migrating               503  records of an earlier release are still being moved
│   └── NotFound                404
└── StoreUnavailable        503  Redis is away, read-only or nearly full: try again later
    ├── StoreClosed         503  its data was moved to another Redis, or is being moved
    ├── StoreUnfit          503  this Redis can't be the store: change REDIS_URL or the server
    └── Unconfirmed         503  stored, but on fewer than REDIS_ACKS replicas: send it again

An authentic item that matches no shape or no route is not an error: its sender can't fix it. It is
stored as unreadable or unrouted, shown, and can be replayed. An authentic body that can't be parsed
is answered 4xx and kept as a refused request: nobody can replay it. A failed attempt at CallKaro is
not an exception either: workers/callkaro.py returns it as data.
"""

from typing import ClassVar


class BridgeError(Exception):
    """The root of all errors of ours."""


class SettingsError(BridgeError):
    """The environment or the routes can't be used. The message names everything to fix."""


class RequestError(BridgeError):
    """A request that can't be served. Its sender gets the message, which has no secret."""

    status_code: ClassVar[int] = 400
    word: ClassVar[str] = "bad_request"


class UnknownSource(RequestError):
    """There is no source with this name, or it has no secret."""

    status_code = 404
    word = "unknown_source"


class WrongMethod(RequestError):
    """The source's webhooks are POST requests."""

    status_code = 405
    word = "method_not_allowed"


class BadSignature(RequestError):
    """The request does not prove that its source sent it, or it is too old."""

    status_code = 401
    word = "bad_signature"

    def __init__(self, message: str, *, why: str) -> None:
        super().__init__(message)
        # For our log: missing, wrong_token, wrong_login, wrong_signature, account, no_time or
        # stale.
        self.why = why


class TooLarge(RequestError):
    """The body is over the limit."""

    status_code = 413
    word = "too_large"


class UnsupportedMedia(RequestError):
    """The body is not JSON or a form, or not what its CRM sends."""

    status_code = 415
    word = "unsupported_media"


class UnknownHost(RequestError):
    """The bridge does not know this host name: add it to ALLOWED_HOSTS."""

    status_code = 400
    word = "unknown_host"


class BadPayload(RequestError):
    """The body should be JSON or a form, and is not."""

    status_code = 400
    word = "bad_payload"

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.place = place  # where in the body, such as "line 1, column 5"; "": not known


class BadQuery(RequestError):
    """A filter, a limit or a cursor makes no sense."""

    status_code = 400
    word = "bad_query"


class Unauthorized(RequestError):
    """The API token is missing or wrong."""

    status_code = 401
    word = "unauthorized"


class Forbidden(RequestError):
    """The role of the token does not allow this."""

    status_code = 403
    word = "forbidden"


class TooMany(RequestError):
    """Too many attempts to sign in to the dashboard."""

    status_code = 429
    word = "too_many"


class NotFound(RequestError):
    """There is nothing at this address."""

    status_code = 404
    word = "not_found"


class Busy(RequestError):
    """Too many long answers are being written: try again in a moment."""

    status_code = 503
    word = "busy"


class Conflict(RequestError):
    """The present status does not allow this; the message says what to do."""

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
    # For the sender. It does not promise that nothing was stored: Redis may have done it before it
    # went away.
    answer: str = "The store does not answer. Try again in a moment."


class StoreClosed(StoreUnavailable):
    """move-store has closed this store. The message says what to do, without a full stop."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.answer = f"{message}."


class StoreUnfit(StoreUnavailable):
    """This Redis can't be the store. The message is a sentence that says what to do."""

    word = "store_unfit"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.answer = message


class Unconfirmed(StoreUnavailable):
    """Redis stored it, but too few replicas confirmed that in time: a failover may lose it.

    is_written False: replicas were away already, so it was not even tried.
    """

    answer = (
        "Too few replicas of Redis confirmed what was stored (REDIS_ACKS). Send it again in a "
        "moment: what is stored already is a duplicate, and nobody is called twice for it."
    )

    def __init__(self, message: str, *, is_written: bool = True) -> None:
        super().__init__(message)
        self.is_written = is_written
