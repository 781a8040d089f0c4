"""The pages that call a list: choose a file, map its columns, see the first rows, store it."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.dashboard.routes import TONES
from bridge.operations import Operations
from bridge.operations.call_lists import CallList, SeenRow
from config.settings import MAX_BODY_BYTES
from rules.call_list import guess_mapping, number_paths, paths_of, read_name
from rules.preview.text import outcome_json
from schemas.csv_table import Table, decoded, read_table
from schemas.delivery import Reason, Status
from schemas.errors import BadQuery, NotFound
from schemas.fields import mask, mask_number
from schemas.route import Route

MOST_BYTES: Final = 2 * 1024 * 1024  # of a list; a form carries it in base64, a third longer
COLUMN: Final = "column:"  # what the name of a path's field begins with
NAMED: Final = 30  # unreadable lines in a message; a message is kept in a cookie
WITH_LIST: Final = ("dashboard.call_lists_columns", "dashboard.call_lists_store")


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a person gave: the route, the list and its name, and the columns of the paths."""

    route: Route
    name: str
    text: str = field(repr=False)
    table: Table = field(repr=False)
    mapping: Mapping[str, str]
    is_chosen: bool  # a person chose the columns; False: they are guessed

    @property
    def packed(self) -> str:
        """The list as a field of a form carries it. Pages change signs that can't be seen."""
        return base64.b64encode(self.text.encode("utf-8", "replace")).decode()


def add(dashboard: Blueprint, operations: Operations) -> None:
    """Give the blueprint its pages that call a list."""
    routes = [one for one in operations.settings.routes.routes if one.to == "call"]

    def first_page(problem: str = "") -> str:
        return render_template(
            "call_lists.html",
            routes=[one.name for one in routes],
            typed=request.form or request.args,
            problem=problem,
            megabytes=MOST_BYTES // 1024**2,
        )

    def columns_page(
        form: Form, *, problem: str = "", counts: CallList | None = None, seen: list[SeenRow]
    ) -> str:
        source = operations.settings.routes.sources[form.route.source]
        return render_template(
            "call_list_columns.html",
            form=form,
            paths=list(paths_of(form.route, source)),
            numbers=number_paths(form.route, source),
            columns=[one for one in form.table.columns if one],
            prefix=COLUMN,
            problem=problem,
            counts=counts,
            seen=[_shown(one) for one in seen],
            tones=TONES,
        )

    @dashboard.before_app_request
    def allow_lists() -> None:
        if request.endpoint in WITH_LIST:
            request.max_form_memory_size = MAX_BODY_BYTES

    @dashboard.get("/call-lists")
    def call_lists() -> str:
        return first_page()

    @dashboard.get("/call-lists/columns")
    @dashboard.get("/call-lists/store")
    def call_lists_again() -> Response:
        # These answer POST with a page; here the browser reloads its address.
        return redirect(url_for("dashboard.call_lists"))

    @dashboard.post("/call-lists/columns")
    def call_lists_columns() -> str | tuple[str, int]:
        try:
            form = _read_form(operations)
        except (BadQuery, NotFound) as error:
            return first_page(str(error)), 400
        try:
            counts, seen = operations.look_at_list(
                form.route.name, form.name, form.mapping, form.table
            )
        except BadQuery as error:
            status = 400 if form.is_chosen else 200
            return columns_page(form, problem=str(error), seen=[]), status
        return columns_page(form, counts=counts, seen=seen)

    @dashboard.post("/call-lists/store")
    def call_lists_store() -> Response | tuple[str, int]:
        try:
            form = _read_form(operations)
        except (BadQuery, NotFound) as error:
            return first_page(str(error)), 400
        try:
            done = operations.call_list(
                form.route.name, form.name, form.mapping, form.table, dry_run=False
            )
        except BadQuery as error:
            return columns_page(form, problem=str(error), seen=[]), 400
        flash(
            f"Held until you release them: {done.accepted:,} of {done.rows:,} rows. Duplicates: "
            f"{done.duplicates:,}. Suppressed: {done.suppressed:,}."
        )
        if done.unreadable:
            flash(_unreadable_text(done), "problem")
        held, bulk = str(Status.HELD), str(Reason.BULK)
        return redirect(
            url_for("dashboard.deliveries", status=held, reason=bulk, route=form.route.name)
        )


def _read_form(operations: Operations) -> Form:
    """Return what the form of this request gives. Raises BadQuery or NotFound."""
    route = operations.calling_route(request.form.get("route", ""))
    text, file_name = _read_list()
    table = read_table(text)
    given = {
        name.removeprefix(COLUMN): column
        for name, column in request.form.items()
        if name.startswith(COLUMN)
    }
    return Form(
        route=route,
        name=read_name(
            request.form.get("name", "") or file_name, operations.settings.default_region
        ),
        text=text,
        table=table,
        mapping=_chosen(given) if given else _usual_mapping(operations, route, table),
        is_chosen=bool(given),
    )


def _read_list() -> tuple[str, str]:
    """Return the list and its file's name: of the file, or as the page before carried it."""
    file = request.files.get("file")
    if file is not None and file.filename:
        text = decoded(file.stream.read(MAX_BODY_BYTES))
        name = PurePath(file.filename.replace("\\", "/")).stem
    else:
        text, name = _unpacked(request.form.get("csv", "")), ""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise BadQuery(
            f"The file is over {MOST_BYTES // 1024**2} MB. Split it, or remove columns that the "
            "route does not read."
        )
    return text, name


def _unpacked(packed: str) -> str:
    if not packed:
        raise BadQuery("Choose a file first.")
    try:
        return base64.b64decode(packed, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadQuery("The list did not arrive whole. Choose the file again.") from None


def _chosen(given: Mapping[str, str]) -> dict[str, str]:
    return {path: column for path, column in given.items() if column}


def _usual_mapping(operations: Operations, route: Route, table: Table) -> dict[str, str]:
    """Return the mapping of the route's latest list, as far as it fits, and guesses beside it."""
    source = operations.settings.routes.sources[route.source]
    known = paths_of(route, source)
    saved = operations.store.list_mapping(route.name)
    fits = {path: one for path, one in saved.items() if path in known and one in table.columns}
    return {**guess_mapping(route, source, table.columns), **fits}


def _shown(one: SeenRow) -> dict[str, Any]:
    """Return a row of the preview, its numbers masked."""
    outcome = outcome_json(one.outcome)
    asked = [{**ask, "body": mask(ask["body"])} for ask in outcome["requests"]]
    return {
        **outcome,
        "line": one.line,
        "name": one.name,
        "number": mask_number(one.number),
        "requests": asked,
    }


def _unreadable_text(done: CallList) -> str:
    lines = [str(one.line) for one in done.unreadable]
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return f"Lines without a call: {len(lines)}. They are {', '.join(lines[:NAMED])}{more}."
