"""A day of invented leads: what each CRM would send of them, and how each call would end.

Nobody here exists. All of it is drawn with one seed, so that each run has the same people.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

SEED = 15
COUNTS = {"website": 102, "hubspot": 84, "zoho": 52}
LATE = 2  # leads of PAUSED that come after its routes were paused
PAUSED = "zoho"
TOO_OLD = timedelta(hours=30)
# The first lead.
FIRST_SOURCE, FIRST_NAME, FIRST_PHONE = "website", "Meera Iyer", "+91 98765 10037"
# By lead: the HTTP status of CallKaro's answer. After a 502, a phone may have rung.
REFUSED = {70: 502, 147: 400}

FIRST_NAMES = (
    *("Meera", "Aarav", "Ananya", "Arjun", "Deepak", "Divya", "Farhan", "Gauri", "Harish", "Isha"),
    *("Kabir", "Kavya", "Lakshmi", "Manoj", "Nikhil", "Nisha", "Pooja", "Pranav", "Priya", "Rahul"),
    *("Rohan", "Sana", "Sanjay", "Shreya", "Sunita", "Tanvi", "Varun", "Vikram", "Yash", "Zoya"),
)
LAST_NAMES = (
    *("Iyer", "Sharma", "Patel", "Reddy", "Nair", "Khan", "Gupta", "Desai", "Joshi", "Kulkarni"),
    *("Mehta", "Menon", "Mishra", "Naidu", "Pillai", "Rao", "Shetty", "Singh", "Verma", "Bose"),
)
ABROAD = ("Emily Carter", "James Wilson", "Olivia Brown", "Noah Miller")
CITIES = ("Bengaluru", "Chennai", "Delhi", "Hyderabad", "Kochi", "Mumbai", "Pune")
WISHES = (
    "a flat with two bedrooms in Baner",
    "a visit of the sample flat on Saturday",
    "the price list",
    "a home loan",
    "a call back in the evening",
)
TALK = """Agent: Hello {name}, this is Riya of Sunrise Homes. Is it a good time to talk?
User: Yes, tell me.
Agent: You asked about {wish}. Shall I tell you more?
User: {answer}
Agent: {farewell}"""
# Whether the person is interested, what the person and the agent say, and the agent's note.
ANSWERS = (
    ("yes", "Yes, please.", "Of course. I send it to you today.", "Wants to know more."),
    (
        "no",
        "Not now. Perhaps next year.",
        "Of course. Have a good day.",
        "Has other plans this year.",
    ),
    ("no", "No, I have already bought one.", "Thank you for your time.", "Has bought elsewhere."),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """A person whom a CRM announces."""

    source: str
    record: str  # the CRM's id of the person, or of the form that the person sent
    name: str
    phone: str  # as the person typed it
    city: str
    wish: str
    more: Mapping[str, Any] = field(default_factory=dict)  # other fields of the CRM's record
    age: timedelta = timedelta()  # how long ago it happened
    # The HTTP status of CallKaro's answer; None: it accepts the call.
    refusal: int | None = None
    is_suppressed: bool = False
    # One entry for each dial: the fields of CallKaro's call_ended.
    dials: Sequence[Mapping[str, Any]] = ()

    @property
    def number(self) -> str:
        """The number as CallKaro gets it."""
        digits = "".join(one for one in self.phone if one.isdecimal())
        return f"+{digits}" if self.phone.startswith("+") else f"+91{digits}"

    @property
    def at_crm(self) -> str | None:
        """Where the CRM's stand-in has the record; None: no CRM has it."""
        objects = {"hubspot": "contacts", "zoho": "Leads"}
        name = objects.get(self.source)
        return name and f"{self.source}/{name}/{self.record}"

    @property
    def contact(self) -> dict[str, Any]:
        """The record in HubSpot. Of Zoho's, the stand-in needs no more than the id."""
        first, _, last = self.name.partition(" ")
        return {
            "firstname": first,
            "lastname": last,
            "email": f"{first}.{last}@example.com".lower(),
            "phone": self.phone,
            "city": self.city,
            "lifecyclestage": "lead",
            "hs_language": "en",
            **self.more,
        }


def day_of_leads() -> tuple[list[Lead], list[Lead]]:
    """Return the leads of the day, and those that come after the routes of PAUSED were paused."""
    draw = random.Random(SEED)  # noqa: S311  # nosec B311  # no secret depends on it
    sources = [source for source, count in COUNTS.items() for _ in range(count)]
    draw.shuffle(sources)
    sources.insert(0, FIRST_SOURCE)
    leads = [
        _lead(draw, number, source)
        for number, source in enumerate([*sources, *[PAUSED] * LATE], start=1)
    ]
    return leads[: len(sources)], leads[len(sources) :]


def request_of(lead: Lead, now: datetime) -> tuple[str, bytes]:
    """Return the content type and the body of the webhook that announces a lead."""
    at = now - lead.age
    if lead.source == "zoho":
        form = {"id": lead.record, "Full_Name": lead.name, "Phone": lead.phone, "City": lead.city}
        form |= {"Lead_Source": "Web form", "Created_Time": at.isoformat(), "module": "Leads"}
        return "application/x-www-form-urlencoded", urlencode(form).encode()
    if lead.source == "hubspot":
        notification = {
            "eventId": 3_900_000_000 + int(lead.record),
            "subscriptionId": 25,
            "portalId": 33,
            "appId": 1160452,
            "occurredAt": int(at.timestamp() * 1000),
            "subscriptionType": "contact.creation",
            "attemptNumber": 0,
            "objectId": int(lead.record),
            "changeFlag": "CREATED",
            "changeSource": "FORM",
        }
        return "application/json", json.dumps([notification]).encode()
    form = {"submission_id": lead.record, "name": lead.name, "phone": lead.phone}
    return "application/json", json.dumps({**form, "message": lead.wish}).encode()


def _lead(draw: random.Random, number: int, source: str) -> Lead:
    record = {
        "website": f"contact-form-{2000 + number}",
        "hubspot": str(2000 + number),
        "zoho": f"5725767000000{430_000 + number}",
    }[source]
    name = f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}" if number > 1 else FIRST_NAME
    wish = draw.choice(WISHES)
    usual: dict[str, Any] = {
        "source": source,
        "record": record,
        "name": name,
        "phone": f"+91 98765 {10_000 + number * 37}",
        "city": draw.choice(CITIES),
        "wish": wish,
        "dials": tuple(_dials(draw, name, wish)),
    }
    return Lead(**{**usual, **_trouble(draw, number, source)})


def _trouble(draw: random.Random, number: int, source: str) -> dict[str, Any]:
    """Return what is unusual about some leads; most have nothing unusual."""
    if number in REFUSED:
        return {"refusal": REFUSED[number]}
    if number % 8 or number > 1 + sum(COUNTS.values()):
        return {}
    kinds: dict[str, tuple[dict[str, Any], ...]] = {
        "website": (
            {"phone": f"+1 202-555-{100 + number % 100:04}", "name": draw.choice(ABROAD)},
            {"phone": "98765"},
            {"phone": FIRST_PHONE, "name": FIRST_NAME},  # who sent the form a second time
            {"is_suppressed": True},
        ),
        "hubspot": ({"more": {"lifecyclestage": "customer"}}, {"age": TOO_OLD}, {"phone": ""}),
        "zoho": ({"is_suppressed": True}, {"phone": ""}),
    }
    return kinds[source][number // 8 % len(kinds[source])]


def _dials(draw: random.Random, name: str, wish: str) -> Iterator[dict[str, Any]]:
    """Yield what CallKaro reports of a call: nothing yet, one dial, or a dial and a redial."""
    chance = draw.random()
    version: dict[str, Any] = {"versionId": draw.choice(("v1", "v2"))}
    if chance < 0.08:
        return
    if chance < 0.25:
        missed = {"hangup_reason": "USER_UNAVAILABLE", "next_call_scheduled": True, **version}
        yield missed
        if chance > 0.2:
            return
        version["try_count"] = 1
    if chance < 0.62:
        yield {**_talk(draw, name, wish), **version}
    elif chance < 0.76:
        yield {"hangup_reason": "VOICEMAIL_DETECTED", **version}
    elif chance < 0.96:
        reason = draw.choice(("USER_UNAVAILABLE", "USER_REJECTED", "USER_UNRESPONSIVE"))
        yield {"hangup_reason": reason, **version}
    else:
        yield {"hangup_reason": "INVALID_PHONE_NUMBER", **version}


def _talk(draw: random.Random, name: str, wish: str) -> dict[str, Any]:
    interested, answer, farewell, why = draw.choices(ANSWERS, (5, 3, 4))[0]
    return {
        "hangup_reason": "CLIENT_INITIATED",
        "call_duration": draw.randint(25, 320),
        "conversion_status": interested == "yes",
        "disposition_reason": why,
        "post_call": {"interested": interested, "asked_for": wish},
        "post_call_detail": {"interested": {"value": interested, "comment": why}},
        "transcription": TALK.format(
            name=name.partition(" ")[0], wish=wish, answer=answer, farewell=farewell
        ),
    }
