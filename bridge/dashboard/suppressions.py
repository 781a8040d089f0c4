"""Suppressions: who is not to be called, and erasing a person."""

import re
import time
from collections.abc import Sequence
from typing import Final

from flask import Blueprint, Request, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.api.queries import PHONE_KEY, read_cursor, read_phone
from bridge.operations import Operations
from rules.number_list import read_numbers
from schemas.errors import BadQuery, NotFound
from schemas.responses import SuppressionResponse
from store.erasure import Erased, Eraser
from store.suppression import CalledOff, Suppressions

ROWS: Final = 50
LONGEST_MESSAGE: Final = 500
MOST_BYTES: Final = 1024 * 1024  # of a file of numbers
SLICE_S: Final = 10.0  # of an import, so that it is answered before anyone gives up
NAMED: Final = 50  # lines that are named in a message, which travels in a cookie


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its page about suppressions."""
    store, region = operations.store, operations.settings.default_region
    people, answer = Suppressions(store=store), SuppressionResponse()

    def page(problem: str = "", at: str = "") -> str:
        """Return the page; at: the form whose words are kept and that the problem is of."""
        listed = store.suppressions(before=read_cursor(request.args.get("cursor")), limit=ROWS)
        key = request.args.get("looked_up", "")
        is_key = bool(PHONE_KEY.fullmatch(key))
        found = store.suppression(key) if is_key else None
        return render_template(
            "suppressions.html",
            rows=answer.dump(listed.items, many=True),
            next_cursor=listed.next_cursor,
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
        # A page that was shown there has been loaded again by its address.
        return redirect(url_for("dashboard.suppressions"))

    @dashboard.post("/suppressions")
    def suppress() -> Response | tuple[str, int]:
        try:
            number = _number(request, "phone", region)
        except BadQuery as error:
            return page(str(error), "suppress"), 400
        done = people.suppress(number, message=_message(request))
        operations.wake()
        word = "It is" if done.is_new else "It was already"
        flash(f"{word} suppressed. {_off(done.called_off)}")
        return redirect(url_for("dashboard.suppressions", looked_up=done.suppression.key))

    @dashboard.post("/suppressions/look-up")
    def suppression_look_up() -> Response | tuple[str, int]:
        # Not in the address: what is there is kept in the browser's history.
        try:
            key = store.phone_key(_number(request, "phone", region))
        except BadQuery as error:
            return page(str(error), "look_up"), 400
        return redirect(url_for("dashboard.suppressions", looked_up=key))

    @dashboard.post("/suppressions/<key>/remove")
    def unsuppress(key: str) -> Response:
        try:
            people.unsuppress(key)
            flash("It may be called again.")
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
        stopped_at = _suppress_all(people, wanted, unread, _message(request), region)
        operations.wake()
        return redirect(url_for("dashboard.suppressions", from_line=stopped_at))

    @dashboard.post("/erasures")
    def erase() -> Response | tuple[str, int]:
        try:
            number = _number(request, "phone", region)
            if _number(request, "again", region) != number:
                raise BadQuery("The two numbers are not the same. Nobody was erased.")
        except BadQuery as error:
            return page(str(error), "erase"), 400
        done = Eraser(store=store).erase(number)
        operations.wake()
        flash(_erased(done))
        return redirect(url_for("dashboard.suppressions"))


# --- forms --------------------------------------------------------------------------------------


def _number(request: Request, name: str, region: str | None) -> str:
    """Return the number of a form, in E.164. Raises BadQuery."""
    try:
        return read_phone(request.form.get(name, ""), region)
    except BadQuery:
        raise BadQuery("That is no valid number. Write it in full: +919876543210.") from None


def _message(request: Request) -> str:
    return request.form.get("message", "").strip()[:LONGEST_MESSAGE]


def _from_line(text: str) -> int:
    if not text.strip():
        return 1
    if not re.fullmatch(r"\s*\d{1,7}\s*", text, re.ASCII):
        raise BadQuery("The line to go on from must be a number.")
    return int(text)


def _numbers_of(request: Request) -> tuple[list[tuple[int, str]], list[int]]:
    """Return the numbers of a file that was uploaded, and its lines without. Raises BadQuery."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise BadQuery("Choose a file first.")
    raw = file.stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise BadQuery(
            "The file is over 1 MB. Cut it in pieces, or use the command line: "
            "flask --app bridge suppress --import FILE"
        )
    try:
        numbers, without = read_numbers(raw)
    except ValueError as error:
        raise BadQuery(str(error)) from None
    if not numbers:
        raise BadQuery("There is no number in that file.")
    return numbers, without


# --- doing it -----------------------------------------------------------------------------------


def _suppress_all(
    people: Suppressions,
    numbers: Sequence[tuple[int, str]],
    unread: set[int],
    message: str,
    region: str | None,
) -> int | None:
    """Suppress numbers, and flash what became of them; unread are the lines that have none.

    Returns the line to go on from where the time was not enough; None: that was all.
    """
    new = known = 0
    stopped_at = None
    ends = time.monotonic() + SLICE_S
    for line, text in numbers:
        if time.monotonic() > ends:
            stopped_at = line
            break
        try:
            number = read_phone(text, region)
        except BadQuery:
            unread.add(line)
            continue
        is_new = people.suppress(number, message=message).is_new
        new, known = new + is_new, known + (not is_new)
    flash(f"{new} suppressed, {known} known already.")
    lines = sorted(line for line in unread if stopped_at is None or line < stopped_at)
    if lines:
        flash(
            f"{len(lines)} line(s) have no number that can be read, and nobody of them is "
            f"suppressed unless another line has the number: {_places(lines)}",
            "problem",
        )
    if stopped_at:
        flash(
            f"The time was not enough for all. Choose the file again: it goes on from line "
            f"{stopped_at}.",
            "problem",
        )
    return stopped_at


def _places(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return ", ".join(map(str, lines[:NAMED])) + more


def _off(off: CalledOff) -> str:
    wire = f" On the wire, so that a phone may ring: {off.on_the_wire}." if off.pending else ""
    return f"Cancelled: {off.cancelled}; CallKaro is asked to drop {off.dropping}.{wire}"


def _erased(done: Erased) -> str:
    counts = f"{done.deliveries} deliveries and {done.events} events"
    if done.is_done:
        return f"The person is erased, out of {counts}, and is not called any more."
    return f"The person is being erased: {counts} so far. A worker goes on with it."
