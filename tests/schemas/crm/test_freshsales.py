"""What is Freshsales' own: a body that its author writes, and do-not-disturb."""

from typing import Any

from support import each
from support.samples import incoming, items, source_of

from schemas.crm.freshsales import KIND


@each(
    ("body", "subject"),
    [
        ({"id": "7"}, ("7", None)),
        ({"id": 7, "contact_id": 8}, ("7", None)),
        ({"contact": {"id": 9}}, ("9", "contact")),
        ({"contact_id": "8"}, ("8", "contact")),
        ({"id": "", "lead_id": "6"}, ("6", "lead")),
        ({"id": [], "contact": "x"}, (None, None)),
    ],
)
def test_whose_id_it_is(body: Any, subject: Any) -> None:
    [item] = items(KIND, body)
    assert (item.subject, item.subject_type) == subject
    assert (item.type, item.data, item.problem) == ("workflow.triggered", body, None)


def test_a_source_may_have_its_own_places() -> None:
    body = {"event": "contact.created", "kind": "deal.won", "at": "2026-01-01T12:30:00+05:30"}
    [item] = KIND.parse(body, incoming(), source_of(KIND, event="kind", time="at", id="at"))
    assert (item.type, item.source_event_id) == ("deal.won", "2026-01-01T12:30:00+05:30")
    assert item.time is not None
    assert item.time.isoformat() == "2026-01-01T07:00:00+00:00"


@each("off", [None, False, "", "false", "no", 0, "0"])
@each("on", [True, "true", "Yes", "{{contact.do_not_disturb}}", 1, {}, []])
def test_do_not_disturb_is_on_unless_it_is_off(off: Any, on: Any) -> None:
    assert KIND.opt_out
    for body, expected in (({"do_not_disturb": off}, False), ({"do_not_disturb": on}, True)):
        assert KIND.opt_out.search(body) is expected
        assert KIND.opt_out.search({"contact": body}) is expected
