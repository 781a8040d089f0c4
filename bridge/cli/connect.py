"""`connect`: what to enter at a source's vendor, and what became of its first webhook."""

import secrets
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from bridge.cli.call_me import settled, why_not
from bridge.cli.client import Api, Failure, address_of, is_here, open_api, quoted, read_settings
from bridge.cli.send import find_source
from schemas.event import EventStatus
from schemas.nearest import did_you_mean
from schemas.refused import CAUSES
from schemas.route import Routes
from schemas.settings import Settings
from schemas.source import Basic, Source, Token, proof_headers, secret_of
from schemas.visible import visible

LOOK_S = 1.0  # between two looks at the bridge
WAIT_S: Final = 600
GENERIC: Final = "generic"  # the kind of any form or program
PAGE: Final = 50  # events that one look reads; the first of more is not needed exactly
REFUSED: Final = "callkaro_bridge_webhooks_refused_total"
SHOWN: Final = "…"  # the value of a variable that the vendor shows
Line = tuple[str, str, str]  # of .env: a variable, its value, what it is
Refused = Counter[tuple[str, str]]  # (status code, cause) -> how many requests


@click.command(short_help="Connect a source, and wait for its first webhook.")
@click.argument("source", required=False)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0, 86_400),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for a webhook; 0: do not wait.",
)
@click.option("--url", help="The address of the bridge. Without it: PUBLIC_URL, or this machine.")
def connect(source: str | None, wait_s: int, url: str | None) -> None:
    """Show what to enter at SOURCE's vendor, wait for a webhook, and say what became of it.

    Without SOURCE, the command asks for it. If the source has no secret yet, the command makes one
    and shows the line for .env. It waits while you restart the bridge. Ctrl-C ends it.
    """
    settings = _settings()
    found = find_source(settings, source or _ask(settings))
    base_url = address_of(url or settings.public_url or f"http://localhost:{settings.port}")
    made = secrets.token_hex(24) if wait_s and not settings.api_tokens else ""
    for line in setup_lines(settings, found, base_url, api_token=made):
        click.echo(line)
    if not wait_s:
        return
    api = open_api(url, token=made)
    click.echo(f"\nWaiting for a webhook of {vendor_of(found)} … (Ctrl-C ends this)")
    watch = Watch(api, found)
    event = watch.first_event(monotonic() + wait_s)
    if event is None:
        raise Failure("\n".join(timed_out(watch, found, base_url, wait_s)))
    click.echo()
    for line in what_became(api, event, settings.routes):
        click.echo(visible(line))


def _settings() -> Settings:
    try:
        return read_settings(needs=frozenset({"ROUTES"}))
    except Failure as error:
        hint = "The folder examples/<source> has a routes.toml for each source: copy one."
        raise Failure(f"{error.message}\n{hint}") from None


def _ask(settings: Settings) -> str:
    """Return the name of a source that a person chooses."""
    sources = settings.routes.sources
    for name, one in sources.items():
        state = "has a secret" if settings.secrets.get(name) else "no secret yet"
        click.echo(f"  {name:<20} {one.kind.title}, {state}")

    def known(text: str) -> str:
        if text.strip() not in sources:
            near = did_you_mean(text.strip(), sources)
            raise click.BadParameter(f"There is no source {text.strip()!r}. {near}".rstrip())
        return text.strip()

    try:
        chosen: str = click.prompt("Which source", value_proc=known)
    except click.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise click.UsageError("Name the source: python -m bridge connect SOURCE") from None
    return chosen


def vendor_of(source: Source) -> str:
    """Return who sends the webhooks of a source, as sentences name it."""
    return "your form or program" if source.kind.name == GENERIC else source.kind.title


# --- what to enter ------------------------------------------------------------------------------


def setup_lines(
    settings: Settings, source: Source, base_url: str, *, api_token: str = ""
) -> Iterator[str]:
    """Yield what a person puts into .env, and what they enter at the vendor.

    api_token: one that was made up, because API_TOKEN is not set; "": it is set or not needed.
    """
    vendor = vendor_of(source)
    known = settings.secrets.get(source.name)
    secret = known[0] if known else secret_of(source.auth, secrets.token_hex(16))
    verify = _verify_token(settings, source)
    address = f"{base_url}/webhooks/{source.name}"
    yield f"{source.kind.title} (source {source.name}). Its guide: {source.kind.guide_path}\n"
    lines = [] if known else [_secret_line(source, secret)]
    lines += _other_lines(settings, source, verify)
    if api_token:
        about = "opens the bridge's API and dashboard. If the bridge has one, put that one here"
        lines.append(("API_TOKEN", api_token, about))
    yield from _for_env(vendor, lines)
    yield f"Enter at {vendor}:"
    yield f"  Address  {address}"
    yield from (f"  {name:<8} {value}" for name, value in _proofs(source, address, secret))
    if verify:
        yield f"  {'Verify':<8} {verify[1]} (the token with which {vendor} asks for the address)"
    if is_here(base_url):
        yield (
            "\nNobody else can reach this address. Use a tunnel or a server, and set PUBLIC_URL to "
            "its https address."
        )


def _for_env(vendor: str, lines: Sequence[Line]) -> Iterator[str]:
    """Yield what to put into .env, in a form that can be copied; nothing if there are no lines."""
    if not lines:
        return
    yield "Put this into .env, and restart web and worker:\n"
    for name, value, about in lines:
        yield from textwrap.wrap(about, 96, initial_indent="  # ", subsequent_indent="  # ")
        yield f"  {name}={value}"
    if any(value == SHOWN for _, value, _ in lines):
        yield f"\n{vendor} shows what belongs in the place of {SHOWN}"
    yield ""


def _secret_line(source: Source, secret: str) -> Line:
    name, about = f"{source.variable_prefix}WEBHOOK_SECRET", source.secret_about()
    if source.secret_is_chosen is None:
        about += f". If {vendor_of(source)} shows one, put that one here"
    return name, SHOWN if source.secret_is_chosen is False else secret, about


def _verify_token(settings: Settings, source: Source) -> tuple[str, str] | None:
    """Return the suffix and the value of the token of a challenge; None: there is none."""
    challenge = source.kind.challenge
    if challenge is None or challenge.token is None:
        return None
    suffix = challenge.token[1]
    known = settings.variables.get(source.name, {}).get(suffix)
    return suffix, known or secrets.token_hex(16)


def _other_lines(
    settings: Settings, source: Source, verify: tuple[str, str] | None
) -> Iterator[Line]:
    """Yield the other variables that the source needs and that are not set."""
    for one in source.missing(settings.variables.get(source.name, {})):
        value = verify[1] if verify and one.suffix == verify[0] else SHOWN
        yield source.variable_prefix + one.suffix, value, one.about()


def _proofs(source: Source, address: str, secret: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of what proves a webhook; no secret that the vendor has made."""
    match source.auth:
        case Token(header=header, query=query, body=body):
            yield "Header", f"{header}: {secret}"
            yield "or", f"{address}?{query}={quote(secret, safe='')}"
            if body:
                yield "or", f"in the body, as {' or '.join(body)}: {secret}"
        case Basic():
            user, _, password = secret.partition(":")
            yield "User", user
            yield "Password", password
        case auth:
            if source.secret_is_chosen is not False:
                yield "Secret", secret
            yield "Signed", f"in the header {' or '.join(proof_headers(auth))}"


# --- waiting --------------------------------------------------------------------------------------


class Watch:
    """Looks at a bridge, which may be restarted meanwhile, for the first event of a source."""

    def __init__(self, api: Api, source: Source) -> None:
        self._api = api
        self._source = source
        self._said: set[str] = set()
        self._known: str | None = None  # the newest event before; "": there was none
        self._before: Refused = Counter()
        self.refused: Refused = Counter()  # since the first look
        self.problem = ""  # why the last look could see no event; "": it could

    def first_event(self, ends: float) -> Mapping[str, Any] | None:
        """Return the first event that is new; None: none came. ends: by the monotonic clock."""
        while True:
            self.problem, found = "", None
            try:
                found = self._look()
            except Failure as error:
                self.problem = error.format_message()
                self._say(f"{self.problem} Trying again …")
            if found is not None or monotonic() >= ends:
                return found
            sleep(LOOK_S)

    def _look(self) -> Mapping[str, Any] | None:
        """Return the first new event; None: there is none yet. Raises Failure."""
        self._look_at_secret()
        query = urlencode({"source": self._source.name, "limit": PAGE})
        items: Sequence[Mapping[str, Any]] = self._api.get(f"/api/events?{query}")["items"]
        refused = refused_of(self._api.text("/metrics"), self._source.name)
        if self._known is None:
            self._known = items[0]["id"] if items else ""
            self._before = refused
            return None
        self._look_at_refused(refused - self._before)
        ids = [item["id"] for item in items]
        new = items[: ids.index(self._known)] if self._known in ids else items
        return new[-1] if new else None

    def _look_at_secret(self) -> None:
        for one in self._api.get("/api/sources")["items"]:
            if one["name"] == self._source.name:
                if not one["has_secret"]:
                    self.problem = (
                        f"The running bridge has no {one['secret_variable']} yet. Put it into "
                        ".env, and restart web and worker."
                    )
                    self._say(self.problem)
                return
        raise Failure(
            f"The running bridge has no source {self._source.name!r}. Restart it with this "
            "routes.toml."
        )

    def _look_at_refused(self, refused: Refused) -> None:
        self.refused = refused
        for code, cause in refused:
            self._say(f"A request was refused with {code}. {CAUSES.get(cause, cause)}")

    def _say(self, text: str) -> None:
        """Say it once."""
        if text not in self._said:
            self._said.add(text)
            click.echo(text, err=True)


def refused_of(metrics: str, source: str) -> Refused:
    """Return how many requests of a source were refused, by what /metrics answers."""
    from prometheus_client.parser import text_string_to_metric_families

    found: Refused = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == REFUSED and sample.labels["source"] == source and sample.value:
                found[sample.labels["code"], sample.labels["cause"]] += int(sample.value)
    return found


def timed_out(watch: Watch, source: Source, base_url: str, wait_s: int) -> Iterator[str]:
    """Yield the lines that say what to check, because no event came."""
    yield f"No event of {vendor_of(source)} came in {wait_s} s. Check:"
    if watch.problem:
        yield f"  - {watch.problem}"
    elif watch.refused:
        words = ", ".join(f"{n} with {code} {cause}" for (code, cause), n in watch.refused.items())
        yield f"  - Refused requests: {words}. Compare the secret on both sides."
        yield "    Requests that proved their sender are kept: python -m bridge refused"
    else:
        yield f"  - No request was refused. Is the address {base_url}/webhooks/{source.name}"
        yield "    entered there, is the webhook switched on, and did something happen?"
    if is_here(base_url):
        yield f"  - Nobody else can reach {base_url}. Set PUBLIC_URL to an https address."
    yield "  - An event that is here already adds nothing: have it send a new one."
    yield f"  - The guide: {source.kind.guide_path}"


# --- what became of it ----------------------------------------------------------------------------


def what_became(api: Api, event: Mapping[str, Any], routes: Routes) -> Iterator[str]:
    """Yield what became of an event, in sentences: its type, routes, statuses, and why not."""
    yield f"It arrived: {event['type']} is {event['status']}. Event {event['id']}."
    if event["problem"]:
        yield f"It can't be read, so nobody is called. {event['problem']}"
    elif event["status"] == EventStatus.UNROUTED:
        yield f"Nobody is called: {_why_unrouted(event, routes)}"
    for brief in event["deliveries"]:
        delivery = settled(api, api.get(f"/api/deliveries/{quoted(brief['id'])}"))
        is_done = delivery["status"] == "delivered"
        became = "CallKaro accepted the call." if is_done else why_not(delivery, api.timezone)
        yield f"Route {delivery['route']!r}: {became}"


def _why_unrouted(event: Mapping[str, Any], routes: Routes) -> str:
    """Return why no route made a delivery of an event, by what the routes say."""
    if event["is_test"]:
        return f"for {vendor_of(routes.sources[event['source']])} it is a test, or about no lead."
    ours = [route for route in routes.routes if route.source == event["source"]]
    if not ours:
        return f"no route of routes.toml has source = {event['source']!r}."
    wanting = [route.name for route in ours if route.wants(event["source"], event["type"])]
    if not wanting:
        wanted = ", ".join(sorted({route.event for route in ours}))
        return f"its routes want {wanted}, not {event['type']}."
    return f"match is not true, or the person must not be called: {', '.join(wanting)}."
