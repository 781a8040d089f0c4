"""Closed stores: what move-store marks while it copies a store, and the old one for good.

A script that finds the mark does nothing but say so: see includes/keys.lua. So no event is accepted
and nobody is called where some of the data is missing, or was moved away.
"""

from enum import StrEnum
from typing import Final

CLOSED: Final = "CLOSED"  # the code of the scripts' error
MARK: Final = "closed"  # the key: a hash, see store/moving.py


class State(StrEnum):
    """Why a store is closed."""

    LEAVING = "leaving"  # it is copied to another store
    LEFT = "left"  # all of it was copied
    ARRIVING = "arriving"  # another store is copied into it


SENTENCES: Final = {
    State.LEAVING: "The data of this Redis is being moved to another one: run move-store again "
    "until it has ended, or give it up with move-store --undo",
    State.LEFT: "The data of this Redis was moved to another one: set REDIS_URL to its "
    "address. (To begin anew here, empty this Redis)",
    State.ARRIVING: "The data of another Redis has not fully arrived in this one: run move-store "
    "again until it has ended. (If that was given up, empty this Redis)",
}


def closed_sentence(state: str) -> str:
    """Return why a store is closed, without a full stop."""
    return SENTENCES[State(state)] if state in set(State) else "This Redis is closed"
