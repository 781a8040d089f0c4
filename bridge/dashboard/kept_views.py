"""Kept views: filters of the list of deliveries that a person gave a name.

They are kept in a cookie of the browser, so they are nobody else's and work without JavaScript. A
view holds choices from closed lists and times, nothing that somebody typed about a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Flask, current_app, flash, redirect, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from schemas.errors import BadQuery

COOKIE: Final = "callkaro_bridge_views"
PATH: Final = "/deliveries"  # no other page gets the cookie
KEPT_S: Final = 400 * 24 * 3600  # the longest time that browsers keep a cookie
# Not subject, phone_key or any search: they are of one person.
NAMES: Final = (
    *("status", "outcome", "reason", "route", "source", "campaign"),
    *("since", "until", "to"),
)
MOST: Final = 12
LONGEST_NAME: Final = 40
MOST_BYTES: Final = 3500  # browsers drop a cookie of more than about 4 kB


@dataclass(frozen=True, slots=True)
class View:
    """Filters with a name."""

    name: str
    query: str  # the filters as an address has them


def add(dashboard: Blueprint) -> None:
    """Give the blueprint the commands that keep and remove a view."""

    @dashboard.post("/deliveries/views")
    def keep_view() -> Response:
        query, name = kept_query(request.form), request.form.get("name", "")
        try:
            views = with_view(read_views(request.cookies.get(COOKIE, "")), name, query)
        except BadQuery as error:
            flash(str(error), "problem")
            return _to_list(query)
        return _written(_to_list(query), views)

    @dashboard.post("/deliveries/views/remove")
    def remove_view() -> Response:
        name = request.form.get("name", "")
        views = read_views(request.cookies.get(COOKIE, ""))
        return _written(_to_list(kept_query(request.form)), [v for v in views if v.name != name])


def read_views(cookie: str) -> list[View]:
    """Return the views of a cookie; what can't be a view is left out."""
    # Only views that we did not write have more parts: another name of the domain may set cookies.
    if len(cookie) > MOST_BYTES or cookie.count("&") >= MOST:
        return []
    pairs = parse_qsl(cookie)
    found = {name: kept_query(MultiDict(parse_qsl(query))) for name, query in pairs}
    return [View(name, query) for name, query in found.items() if query and _is_name(name)][:MOST]


def with_view(views: Sequence[View], name: str, query: str) -> list[View]:
    """Return the views with one more; it replaces one of the same name. Raises BadQuery."""
    name = " ".join(name.split())
    if not query:
        raise BadQuery("Set a filter first. A view keeps neither a number nor a CRM record.")
    if not _is_name(name):
        raise BadQuery(f"Give the view a name of 1 to {LONGEST_NAME} characters.")
    found = [*(one for one in views if one.name != name), View(name, query)]
    if len(found) > MOST or len(written(found)) > MOST_BYTES:
        raise BadQuery("There is no room for another view. Remove one first.")
    return found


def kept_query(given: Mapping[str, str]) -> str:
    """Return the filters that a view may hold, as an address has them."""
    args = given if isinstance(given, MultiDict) else MultiDict(given)
    return urlencode(
        [
            (name, value)
            for name in NAMES
            for value in dict.fromkeys(args.getlist(name))
            if value.strip()
        ]
    )


def written(views: Sequence[View]) -> str:
    """Return views as the cookie has them."""
    return urlencode([(one.name, one.query) for one in views])


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _to_list(query: str) -> Response:
    return redirect(url_for("dashboard.deliveries") + (f"?{query}" if query else ""), 303)


def _written(answer: Response, views: Sequence[View]) -> Response:
    app: Flask = current_app
    answer.set_cookie(
        COOKIE,
        written(views),
        max_age=KEPT_S if views else 0,
        path=PATH,
        secure=app.session_interface.get_cookie_secure(app),
        httponly=True,
        samesite="Lax",
    )
    return answer
