"""The load: webhooks of three sources, posted as CRMs do it: again until they are acknowledged."""

import queue
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests
from support import AGENT, WEBSITE, Bridge, lead, notification, route, zoho_notification

from simulator import State

THREADS = 6
RESEND_AFTER_S = 0.1  # a CRM waits for minutes; what counts here is that it sends again
NO_NUMBER = BAD_LANGUAGE = 0.03  # of all leads: these are skipped, those fail
SOUND = 20  # the first leads lack nothing, so that their campaigns surely are made
AGAIN = 0.1  # of HubSpot's events: of a contact that had one before

# The fields of a record say which dial was written last, and how its call stands.
OUTCOME, STATUS = "bridge_outcome", "bridge_status"


def write_back(*moments: str) -> str:
    """Return the [route.write_back] of the route before it."""
    lines = ["[route.write_back]", f"on = [{', '.join(f'{one!r}' for one in moments)}]"]
    dial = "outcome && join('/', [delivery.call_sid, to_string(outcome.tries)])"
    lines += ["[route.write_back.fields]", f'{OUTCOME} = "{dial}"', f'{STATUS} = "delivery.status"']
    return "\n".join(lines) + "\n\n"


# What the CRMs' own webhooks about our write-backs would have us call, and tell of.
CIRCLES = ("call changed contacts", "call changed leads")
# The routes whose calls a CRM is told of.
TELLING = ("call hubspot leads", "call zoho leads", "call back")
MOMENTS = ("outcome", "failed", "skipped", "unknown")

ROUTES = (
    WEBSITE
    + route(
        "call hubspot leads",
        source="hubspot",
        event="contact.created",
        match="\"changeSource != 'IMPORT'\"",
        when="\"properties.lifecyclestage == 'lead'\"",
        campaign='{ name = "HubSpot leads" }',
    )
    + write_back("accepted", *MOMENTS)
    + route(
        "call zoho leads", source="zoho", event="lead.created", campaign='{ name = "Zoho leads" }'
    )
    + write_back(*MOMENTS)
    + route("call changed contacts", source="hubspot", event="contact.updated")
    + write_back("skipped")
    + route(
        "call changed leads", source="zoho", event="lead.updated", when="\"Lead_Status == 'New'\""
    )
    + write_back("skipped")
    + route("call zoho forms", source="zoho", event="workflow.triggered")
    + route(
        campaign='{ name = "Website" }',
        request={
            "to_number": '"phone"',
            "agent_id": f'{{ value = "{AGENT}" }}',
            "language": '"language"',
        },
    )
    + write_back(*MOMENTS)
    + route(
        "open list",
        event="list.opened",
        to="campaign",
        campaign='{ key = "list" }',
        request={"name": '"list"'},
    )
    + route("call list", event="list.joined", campaign='{ key = "list" }')
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One request of a CRM; is_resent: it is sent once more although it was acknowledged."""

    source: str
    body: object
    items: int = 1
    content_type: str = "application/json"
    is_resent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """An event that the bridge answered for with a 202, and the deliveries that it named."""

    event_id: str
    deliveries: tuple[str, ...]


class Leads:
    """Makes webhooks by the dice, and puts the records behind them where the workers fetch them.

    lists: some calls belong to a campaign that another event makes, and wait for that one.
    """

    def __init__(self, state: State, jitter: random.Random, *, lists: bool) -> None:
        self._state = state
        self._lists = lists
        self._jitter = jitter
        self._people = 0
        self._contacts: list[str] = []

    def webhooks(self, count: int, *, of: str) -> list[Webhook]:
        """Return so many webhooks, among them one that opens a list if there are lists."""
        if not self._lists:
            return [self._webhook(of) for _ in range(count)]
        made = [self._webhook(of) for _ in range(count - 1)]
        opened = lead(event_type="list.opened", list=f"list {of}")
        made.insert(self._jitter.randrange(count), Webhook(source="website", body=opened))
        return made

    def one_of_each(self, of: str) -> list[Webhook]:
        """Return a webhook of each kind; they make every campaign that is not of a list."""
        return [make(of) for make in (self._form, self._hubspot, self._zoho, self._zoho_form)]

    def _webhook(self, of: str) -> Webhook:
        make = self._jitter.choices(
            (self._form, self._forms, self._hubspot, self._zoho, self._zoho_form, self._joined),
            weights=(40, 10, 25, 12, 8, 5 if self._lists else 0),
        )[0]
        return make(of)

    def _person(self) -> str | None:
        """Return the next number, or none at all, as in every CRM."""
        self._people += 1
        return None if self._lacks(NO_NUMBER) else f"+9198765{self._people:05}"

    def _lacks(self, share: float) -> bool:
        return self._jitter.random() < share and self._people > SOUND

    def _lead(self) -> dict[str, Any]:
        phone = self._person()
        return lead(phone, language="xx" if self._lacks(BAD_LANGUAGE) else "hi")

    def _resent(self) -> bool:
        return self._jitter.random() < 0.03

    def _form(self, of: str) -> Webhook:
        return Webhook(source="website", body=self._lead(), is_resent=self._resent())

    def _forms(self, of: str) -> Webhook:
        leads = [self._lead() for _ in range(self._jitter.randint(2, 5))]
        return Webhook(source="website", body=leads, items=len(leads), is_resent=self._resent())

    def _hubspot(self, of: str) -> Webhook:
        ids = [self._contact() for _ in range(self._jitter.choice((1, 1, 1, 3, 10)))]
        body = [notification(contact) for contact in ids]
        return Webhook(source="hubspot", body=body, items=len(ids), is_resent=self._resent())

    def _contact(self) -> str:
        if self._contacts and self._jitter.random() < AGAIN:
            return self._jitter.choice(self._contacts)
        phone = self._person()
        contact = str(10_000 + self._people)
        fields = {"lifecyclestage": "lead", **({"phone": phone} if phone else {})}
        self._state.put_record("hubspot", "contacts", contact, fields)
        self._contacts.append(contact)
        return contact

    def _zoho(self, of: str) -> Webhook:
        ids = []
        for _ in range(self._jitter.randint(1, 3)):
            phone = self._person()
            ids.append(str(5_725_767_000_001_000_000 + self._people))
            self._state.put_record("zoho", "Leads", ids[-1], {"Phone": phone})
        return Webhook(
            source="zoho", body=zoho_notification(*ids), items=len(ids), is_resent=self._resent()
        )

    def _zoho_form(self, of: str) -> Webhook:
        phone = self._person() or ""
        form = urlencode({"id": str(10_000_000 + self._people), "Phone": phone}).encode()
        kind = "application/x-www-form-urlencoded"
        return Webhook(source="zoho", body=form, content_type=kind, is_resent=self._resent())

    def _joined(self, of: str) -> Webhook:
        body = lead(self._person(), event_type="list.joined", list=f"list {of}")
        return Webhook(source="website", body=body, is_resent=self._resent())


class Crms:
    """All the CRMs together: several threads that post, and post again.

    per_s: how many webhooks they have in a second, about; None: as many as the bridge takes.
    """

    def __init__(self, bridge: Bridge, *, per_s: float | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()  # what was sent again, by why
        self.acknowledged: list[Acknowledged] = []
        self.wrong: list[str] = []  # answers that no CRM could do anything with
        self._bridge = bridge
        self._pause_s = THREADS / per_s if per_s else 0.0
        self._to_post: queue.SimpleQueue[Webhook | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._post_all, name=f"crm-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def post(self, webhooks: list[Webhook]) -> None:
        """Have these posted, beside whatever is under way."""
        self.counts["released"] += len(webhooks)
        for webhook in webhooks:
            self._to_post.put(webhook)

    @property
    def waiting(self) -> int:
        """How many webhooks are not acknowledged yet."""
        return self.counts["released"] - self.counts["webhooks"]

    def close(self) -> None:
        """Stop posting, whatever is left."""
        self._stopped.set()
        for _ in self._threads:
            self._to_post.put(None)
        for thread in self._threads:
            thread.join(25)

    def _post_all(self) -> None:
        while (webhook := self._to_post.get()) is not None and not self._stopped.is_set():
            try:
                self._post_until_acknowledged(webhook)
            except Exception as error:
                self.wrong.append(f"{webhook.source}: {type(error).__name__}: {error}")
            self._stopped.wait(self._pause_s)

    def _post_until_acknowledged(self, webhook: Webhook) -> None:
        first = self._acknowledgement(webhook)
        if first is None:
            return
        with self._lock:
            self.acknowledged += first
            self.counts["webhooks"] += 1
        if webhook.is_resent and (again := self._acknowledgement(webhook)) is not None:
            self.counts["duplicates"] += 1
            if again != first:
                self.wrong.append(f"{webhook.source}: a resend was answered with other ids")

    def _acknowledgement(self, webhook: Webhook) -> list[Acknowledged] | None:
        """Return what a webhook's 202 names; None: the run is over before it came."""
        while not self._stopped.is_set():
            try:
                answer = self._bridge.post(
                    webhook.source, webhook.body, content_type=webhook.content_type
                )
            except requests.RequestException:
                self._fail("connection lost")
            else:
                if answer.status_code == 202:
                    return list(_named(answer.json(), webhook))
                self._fail(f"answered {answer.status_code}")
                assert answer.status_code >= 500, f"answered {answer.status_code}: {answer.text}"
            self._stopped.wait(RESEND_AFTER_S)
        return None

    def _fail(self, why: str) -> None:
        with self._lock:
            self.failures[why] += 1


def _named(answer: dict[str, Any], webhook: Webhook) -> Iterator[Acknowledged]:
    events = answer["events"]
    assert len(events) == webhook.items, f"{webhook.items} items, {len(events)} events"
    for event in events:
        ids = tuple(one["id"] for one in event["deliveries"])
        yield Acknowledged(event_id=event["id"], deliveries=ids)
