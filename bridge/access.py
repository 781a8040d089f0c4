"""Who makes a request, and whether the role of their token allows it.

The API (bearer token) and the dashboard (session) each find the token, and call let_in(). ENDPOINTS
says which action an endpoint is; schemas/access.py says which role an action needs. An endpoint
that is in neither list needs the highest role.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from flask import current_app, g, has_app_context, request
from structlog.contextvars import bind_contextvars
from werkzeug.exceptions import HTTPException

from config import log
from schemas.access import ACTS, NEEDS, Action, NamedToken, Role
from schemas.errors import Forbidden, StoreUnavailable
from schemas.signatures import is_one_of

logger = log.get(__name__)

# These need no token: a monitor's, a webhook's (it has its own proof), and the way in.
OPEN: Final = frozenset(
    {
        "callbacks.call_ended",
        "callbacks.call_ended_by_header",
        "dashboard.sign_in",
        "dashboard.static",
        "dashboard.try_to_sign_in",
        "health.healthz",
        "health.readyz",
        "openapi.docs",
        "static",
        "webhooks.ask",
        "webhooks.receive",
    }
)
_BY_ACTION: Final = {
    Action.READ: """
        api.campaign api.campaigns api.deliveries api.deliveries_table api.delivery
        api.event api.events api.channel api.one_pause api.pauses api.reconciled
        api.routes api.sources api.stats
        api.status api.suppression api.suppressions api.suppressions_table api.version
        dashboard.banners dashboard.call_lists_again dashboard.campaign
        dashboard.campaign_part dashboard.campaigns
        dashboard.deliveries dashboard.deliveries_filtered dashboard.deliveries_part
        dashboard.deliveries_table dashboard.delivery dashboard.delivery_part
        dashboard.event dashboard.event_part dashboard.events dashboard.events_list
        dashboard.events_part dashboard.keep_view dashboard.overview dashboard.overview_part
        dashboard.remove_view dashboard.reports dashboard.routes dashboard.routes_again
        dashboard.routes_try dashboard.search dashboard.suppression_look_up
        dashboard.suppressions dashboard.suppressions_again dashboard.suppressions_table
        metrics.scrape openapi.openapi_json""",
    Action.SIGN_OUT: "dashboard.sign_out",
    Action.READ_REFUSED: """
        api.refused api.refused_request dashboard.refused dashboard.refused_request""",
    Action.CONNECT: "dashboard.connect",
    Action.RETRY: "api.retry api.retry_many",
    Action.CANCEL: "api.cancel api.cancel_many",
    Action.RELEASE: "api.release_many",
    Action.RESOLVE: "api.resolve",
    Action.REPLAY: """
        api.replay api.replay_many dashboard.event_replay dashboard.events_many
        dashboard.events_many_done""",
    Action.CALL_ME: "api.call_me",
    Action.CALL_LIST: """
        api.call_list dashboard.call_lists dashboard.call_lists_columns
        dashboard.call_lists_store""",
    Action.PAUSE: "api.pause dashboard.campaign_pause dashboard.pause dashboard.routes_pause",
    Action.RESUME: "api.resume dashboard.campaign_resume dashboard.resume dashboard.routes_resume",
    Action.SUPPRESS: "api.suppress dashboard.suppress",
    Action.UNSUPPRESS: "api.unsuppress dashboard.unsuppress",
    Action.IMPORT: "api.suppress_many dashboard.suppressions_import",
    Action.ERASE: "api.erase dashboard.erase",
    Action.RECONCILE: "api.reconcile",
    Action.WATCH: "api.watch api.stop_watching",
    Action.READ_AUDIT: "api.audit dashboard.audit",
}
ENDPOINTS: Final = MappingProxyType(
    {name: action for action, names in _BY_ACTION.items() for name in names.split()}
)
# The address or the form of these says what they do.
CHOSEN: Final = MappingProxyType(
    {
        "dashboard.delivery_done": "what",
        "dashboard.deliveries_many": "do",
        "dashboard.deliveries_many_done": "do",
    }
)


def token_of(given: str, tokens: Iterable[NamedToken]) -> NamedToken | None:
    """Return the token that was given; None: there is no such token. All are compared."""
    found = [one for one in tokens if is_one_of(given, (one.token,))]
    return found[0] if found else None


def let_in(token: NamedToken) -> None:
    """Let a token make this request. All later log lines of the request name it.

    Raises Forbidden where its role has no right to it.
    """
    g.token = token
    bind_contextvars(actor=token.name)
    word = CHOSEN.get(request.endpoint or "")
    chosen = {**request.args, **request.form, **(request.view_args or {})}.get(word) if word else ""
    needed = role_of(request.endpoint or "", chosen)
    if _wants_numbers():
        needed = max(needed, NEEDS[Action.REVEAL], key=list(Role).index)
    _check(token, needed)


def role_of(endpoint: str, chosen: str | None = "") -> Role:
    """Return the role that an endpoint needs; chosen: what its address or form says it does."""
    if endpoint in CHOSEN:
        # Any other word is refused by the view.
        return NEEDS[Action(chosen)] if chosen in ACTS else Role.OPERATOR
    action = ENDPOINTS.get(endpoint)
    return NEEDS[action] if action else Role.ADMIN


def may(word: str) -> bool:
    """Say whether the token of this request has an action, for templates."""
    token: NamedToken | None = g.get("token")
    return token is not None and token.may(Action(word))


def may_post(address: str) -> bool:
    """Say whether the token of this request may post to an address of ours, for templates."""
    token: NamedToken | None = g.get("token")
    if token is None:
        return False
    try:
        path = address.partition("?")[0].removeprefix(request.script_root)
        endpoint, found = current_app.url_map.bind("").match(path, method="POST")
    except HTTPException:
        return False
    return token.has(role_of(endpoint, found.get("what")))


def current_name() -> str | None:
    """Return the name of the token that makes this request; None: it was not asked for one."""
    token: NamedToken | None = g.get("token") if has_app_context() else None
    return token.name if token else None


def note_act(
    action: Action, kind: str = "", *ids: str, count: int | None = None, name: str | None = None
) -> None:
    """Keep in the audit what the token of this request has done.

    kind: what the ids are of, such as a delivery. count: how many an act on many has changed. name:
    of the token, where the request has none yet. The log has a line of each act, too. So an audit
    that can't be written does not undo what is done.
    """
    who = name or current_name()
    if who is None:
        return
    try:
        current_app.extensions["store"].note_act(
            who,
            str(action),
            kind=kind,
            ids=ids or ("",),
            count=count,
            keep_days=current_app.config["AUDIT_DAYS"],
        )
    except StoreUnavailable:
        logger.error("audit.lost", action=str(action), kind=kind, ids=ids, count=count)


def _wants_numbers() -> bool:
    return any(one not in ("", "0", "false") for one in request.args.getlist("reveal"))


def _check(token: NamedToken, needed: Role) -> None:
    if not token.has(needed):
        raise Forbidden(
            f"The token {token.name} has the role {token.role}. This needs the role {needed}."
        )
