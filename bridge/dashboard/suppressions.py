"""The page of suppressions: numbers and records that must not be called, and erasures."""

import re
import time
from collections.abc import Sequence
from typing import Final

from flask import Blueprint, Request, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.api.queries import PHONE_KEY, read_cursor, read_phone
from bridge.dashboard.filters import typed_number
from bridge.operations import Operations
from rules.number_list import read_numbers
from schemas.errors import BadQuery, NotFound
from schemas.records import SuppressionPage
from schemas.requests import LONGEST_MESSAGE
from schemas.responses import SuppressionResponse
from store import Store
from store.erasure import Erased
from store.suppression import CalledOff

ROWS: Final = 50
MOST_BYTES: Final = 1024 * 1024  # of a file of numbers
SLICE_S: Final = 10.0  # of an import, so that it is answered before its sender gives up
NAMED: Final = 50  # line numbers in a message; a message is kept in a cookie


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about suppressions."""
    store, region = operations.store, operations.settings.default_region
    answer = SuppressionResponse()

    def page(problem: str = "", at: str = "") -> str:
        """Return the page; at: the form that has the problem and keeps its typed texts."""
        listed = store.suppressions(before=read_cursor(request.args.get("cursor")), limit=ROWS)
        key = request.args.get("looked_up", "")
        is_key = bool(PHONE_KEY.fullmatch(key))
        found = store.suppression(key) if is_key else None
        return render_template(
            "suppressions.html",
            rows=answer.dump(listed.items, many=True),
            next_cursor=_next_cursor(store, listed),
            count=store.suppression_count(),
            is_looked_up=is_key,
            found=answer.dump(found) if found else None,
            problem=problem,
            at=at,
            typed=request.form,
            from_line=request.args.get("from_line", ""),
        )

    @dashboard.get("/suppressions")
    def suppressions() -> str:
        return page()

    @dashboard.get("/suppressions/look-up")
    @dashboard.get("/suppressions/import")
    @dashboard.get("/erasures")
    def suppressions_again() -> Response:
        # These answer POST with a page; here the browser reloads its address.
        return redirect(url_for("dashboard.suppressions"))

    @dashboard.post("/suppressions")
    def suppress() -> Response | tuple[str, int]:
        try:
            number = typed_number(request.form.get("phone", ""), region)
        except BadQuery as error:
            return page(str(error), "suppress"), 400
        done = operations.suppress(number, message=_message(request))
        text = "is suppressed" if done.is_new else "was suppressed already"
        flash(f"The number {text}. {cancelled_text(done.called_off)}")
        return redirect(url_for("dashboard.suppressions", looked_up=done.suppression.key))

    @dashboard.post("/suppressions/look-up")
    def suppression_look_up() -> Response | tuple[str, int]:
        # Not in the address, which the browser's history keeps.
        try:
            number = typed_number(request.form.get("phone", ""), region)
        except BadQuery as error:
            return page(str(error), "look_up"), 400
        found = store.suppression_of(number)
        key = found.key if found else store.phone_key(number)
        return redirect(url_for("dashboard.suppressions", looked_up=key))

    @dashboard.post("/suppressions/<key>/remove")
    def unsuppress(key: str) -> Response:
        try:
            operations.unsuppress(key)
            flash("Removed. Routes may call again.")
        except NotFound as error:
            flash(str(error), "problem")
        return redirect(url_for("dashboard.suppressions"))

    @dashboard.post("/suppressions/import")
    def suppressions_import() -> Response | tuple[str, int]:
        try:
            numbers, without = _numbers_of(request)
            start = _from_line(request.form.get("from_line", ""))
        except BadQuery as error:
            return page(str(error), "import"), 400
        wanted = [one for one in numbers if one[0] >= start]
        unread = {line for line in without if line >= start}
        stopped_at = _suppress_all(operations, wanted, unread, _message(request))
        return redirect(url_for("dashboard.suppressions", from_line=stopped_at))

    @dashboard.post("/erasures")
    def erase() -> Response | tuple[str, int]:
        try:
            number = typed_number(request.form.get("phone", ""), region)
            if typed_number(request.form.get("again", ""), region) != number:
                raise BadQuery("The two numbers are not the same. Nobody was erased.")
        except BadQuery as error:
            return page(str(error), "erase"), 400
        done = operations.erase(number)
        flash(_erased(done))
        return redirect(url_for("dashboard.suppressions"))


def _next_cursor(store: Store, listed: SuppressionPage) -> str | None:
    """Return where the next page begins; None: nothing follows."""
    if listed.next_cursor is None:
        return None
    follow = store.suppressions(before=int(listed.next_cursor), limit=1)
    return listed.next_cursor if follow.items else None


# --- forms --------------------------------------------------------------------------------------


def _message(request: Request) -> str:
    return request.form.get("message", "").strip()[:LONGEST_MESSAGE]


def _from_line(text: str) -> int:
    if not text.strip():
        return 1
    if not re.fullmatch(r"\s*\d{1,7}\s*", text, re.ASCII):
        raise BadQuery("From line must be a number.")
    return int(text)


def _numbers_of(request: Request) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the numbers of an uploaded file, and its lines without a number. Raises BadQuery."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise BadQuery("Choose a file first.")
    raw = file.stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise BadQuery(
            "The file is over 1 MB. Split it, or use the command line: "
            "python -m bridge suppress --import FILE"
        )
    try:
        numbers, without = read_numbers(raw)
    except ValueError as error:
        raise BadQuery(str(error)) from None
    if not numbers:
        raise BadQuery("The file has no phone number.")
    return numbers, without


# --- doing it -----------------------------------------------------------------------------------


def _suppress_all(
    operations: Operations,
    numbers: Sequence[tuple[int, str]],
    unread: set[int],
    message: str,
) -> int | None:
    """Suppress numbers, and flash the result; unread are the lines without a readable number.

    Returns the line where the next import continues if the time was not enough; None: all is done.
    """
    new = known = 0
    stopped_at = None
    ends = time.monotonic() + SLICE_S
    for line, text in numbers:
        if time.monotonic() > ends:
            stopped_at = line
            break
        try:
            number = read_phone(text, operations.settings.default_region)
        except BadQuery:
            unread.add(line)
            continue
        is_new = operations.suppress_one_of_many(number, message=message)
        new, known = new + is_new, known + (not is_new)
    operations.end_import(new)
    flash(f"Suppressed: {new}. Suppressed already: {known}.")
    lines = sorted(line for line in unread if stopped_at is None or line < stopped_at)
    if lines:
        flash(
            f"Lines without a readable number: {len(lines)}. Nobody is suppressed for these lines: "
            f"{_places(lines)}",
            "problem",
        )
    if stopped_at:
        flash(
            f"The time was not enough for the whole file. Choose the file again: the import "
            f"continues at line {stopped_at}.",
            "problem",
        )
    return stopped_at


def _places(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return ", ".join(map(str, lines[:NAMED])) + more


def cancelled_text(off: CalledOff) -> str:
    """Return what happened to the planned calls of a number."""
    wire = f" Already sent, so a phone may ring: {off.on_the_wire}." if off.pending else ""
    return f"Calls cancelled: {off.cancelled}. To be deleted at CallKaro: {off.dropping}.{wire}"


def _erased(done: Erased) -> str:
    counts = f"{done.deliveries} deliveries and {done.events} events"
    if done.is_done:
        return f"The person is erased from {counts}. No route calls this number any more."
    return f"The person is being erased: {counts} so far. A worker continues."
