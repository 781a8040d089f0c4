"""The banners of every page: what keeps calls from being made, since when, and who did it."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template

from bridge.operations import Operations
from schemas.delivery import CALLKARO
from schemas.errors import StoreUnavailable
from schemas.records import Pause


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What the banners speak of, as far as Redis has it."""

    pauses: tuple[Pause, ...] = ()
    has_worker: bool = True
    is_suspended: bool = False  # by `rq suspend`


def _breadth(pause: Pause) -> int:
    """Return a sort key: what stops all calls comes first."""
    widest = ("all", CALLKARO)
    return widest.index(pause.scope) if pause.scope in widest else len(widest)


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give every page its banners."""
    store, wakeup = operations.store, operations.wakeup

    def state() -> State:
        return State(
            pauses=tuple(sorted(store.pauses(), key=_breadth)),
            has_worker=bool(wakeup.workers()),
            is_suspended=wakeup.is_suspended(),
        )

    def state_if_known() -> State:
        """Return the state; while Redis is away, one without a banner: the page says so itself."""
        try:
            return state()
        except StoreUnavailable:
            return State()

    @dashboard.app_context_processor
    def banner() -> dict[str, Any]:
        return {"banner_state": state_if_known}

    @dashboard.get("/banners")
    def banners() -> str:
        # While Redis is away this is an error, so that the page keeps the banners that it has.
        return render_template("banners.html", banner_state=state)
