"""Who may do what: the named tokens, their roles, and the role that each action needs."""

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a token may do. Each role has what the one before it has."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Action(StrEnum):
    """What a person does; the words are the same in the audit, the log and templates."""

    READ = "read"
    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    REVEAL = "reveal"  # look at whole numbers
    READ_REFUSED = "read_refused"  # bodies that nobody could parse
    CONNECT = "connect"  # look at how sources are connected
    RETRY = "retry"
    CALL_AGAIN = "call_again"  # a retry after which a phone may ring a second time
    CANCEL = "cancel"
    RELEASE = "release"
    RESOLVE = "resolve"
    REPLAY = "replay"
    CALL_ME = "call_me"
    CALL_LIST = "call_list"
    PAUSE = "pause"
    RESUME = "resume"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    IMPORT = "import"  # suppress many numbers at once
    ERASE = "erase"
    RECONCILE = "reconcile"  # ask a CRM for what never arrived
    WATCH = "watch"  # have a CRM notify us by a channel, or no longer
    READ_AUDIT = "read_audit"


# The lowest role that may do it.
NEEDS: Final = MappingProxyType(
    {
        Action.READ: Role.VIEWER,
        Action.SIGN_IN: Role.VIEWER,
        Action.SIGN_OUT: Role.VIEWER,
        Action.REVEAL: Role.OPERATOR,
        Action.READ_REFUSED: Role.OPERATOR,
        Action.CONNECT: Role.OPERATOR,
        Action.RETRY: Role.OPERATOR,
        Action.CALL_AGAIN: Role.OPERATOR,
        Action.CANCEL: Role.OPERATOR,
        Action.RELEASE: Role.OPERATOR,
        Action.RESOLVE: Role.OPERATOR,
        Action.REPLAY: Role.OPERATOR,
        Action.CALL_ME: Role.OPERATOR,
        Action.CALL_LIST: Role.OPERATOR,
        Action.PAUSE: Role.OPERATOR,
        Action.RESUME: Role.OPERATOR,
        Action.SUPPRESS: Role.OPERATOR,
        Action.UNSUPPRESS: Role.ADMIN,
        Action.IMPORT: Role.ADMIN,
        Action.ERASE: Role.ADMIN,
        Action.RECONCILE: Role.ADMIN,
        Action.WATCH: Role.ADMIN,
        Action.READ_AUDIT: Role.ADMIN,
    }
)
# What the audit keeps: looking at what has no whole number is not an act.
ACTS: Final = tuple(
    action
    for action in Action
    if action not in {Action.READ, Action.READ_REFUSED, Action.CONNECT, Action.READ_AUDIT}
)
_ORDER: Final = tuple(Role)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedToken:
    """A token of the API and the dashboard. Several tokens may have one name, for rotation."""

    name: str  # [a-z0-9-]{1,32}; it may be logged
    role: Role
    token: str = field(repr=False)

    def may(self, action: Action) -> bool:
        """Say whether the role of this token has an action."""
        return self.has(NEEDS[action])

    def has(self, role: Role) -> bool:
        """Say whether this token has a role, or one above it."""
        return _ORDER.index(self.role) >= _ORDER.index(role)
