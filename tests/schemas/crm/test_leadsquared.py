"""What is LeadSquared's own: which event a body is, its id, and who must not be called."""

from typing import Any

from support import each
from support.samples import items

from schemas.crm.leadsquared import KIND, OPT_OUT, record_page

BORN = "2026-01-01 07:00:00.000"
LATER = "2026-01-02 08:00:00.000"


def lead(**more: Any) -> dict[str, Any]:
    return {"ProspectID": "p-1", "Phone": "+91-1234500001", "CreatedOn": BORN, **more}


@each(
    ("body", "event_type", "event_id"),
    [
        (lead(), "lead.created", "p-1-created"),
        (lead(ModifiedOn=BORN), "lead.created", "p-1-created"),
        (lead(ModifiedOn="2026-01-01 07:04:00"), "lead.created", "p-1-created"),
        (lead(ModifiedOn=LATER), "lead.updated", "p-1-2026-01-02T08:00:00+00:00"),
        ({"After": lead()}, "lead.created", "p-1-created"),
        ({"Before": None, "After": lead()}, "lead.created", "p-1-created"),
        ({"Before": {}, "After": lead()}, "lead.created", "p-1-created"),
        (
            {"Before": lead(), "After": lead(ModifiedOn=LATER)},
            "lead.updated",
            "p-1-2026-01-02T08:00:00+00:00",
        ),
        ({"Before": lead(), "After": lead()}, "lead.updated", None),
        (
            {"ProspectActivityId": "a-1", "RelatedProspectId": "p-1", "Current": lead()},
            "activity.created",
            "a-1-created",
        ),
        ({"UserTaskId": "t-1", "ProspectID": "p-1"}, "task.created", "t-1-created"),
    ],
)
def test_the_event_of_a_body(body: Any, event_type: str, event_id: str | None) -> None:
    [item] = items(KIND, body)
    assert (item.type, item.source_event_id, item.problem) == (event_type, event_id, None)


def test_the_subject_of_an_activity_is_its_lead() -> None:
    [item] = items(KIND, {"ProspectActivityId": "a-1", "RelatedProspectId": "p-1"})
    assert (item.subject, item.subject_type) == ("p-1", "lead")


def test_a_change_that_comes_before_the_creation_is_another_event() -> None:
    changed, made = {"Before": lead(), "After": lead(ModifiedOn=LATER)}, lead(ModifiedOn=BORN)
    ids = [items(KIND, body)[0].source_event_id for body in (changed, made)]
    assert len(set(ids)) == 2


def test_two_webhooks_of_one_change_are_one_event() -> None:
    one = {"Before": lead(), "After": lead(ModifiedOn=LATER)}
    other = {"Before": lead(Score="0"), "After": lead(ModifiedOn="2026-01-02 08:00:00")}
    assert items(KIND, one)[0].source_event_id == items(KIND, other)[0].source_event_id


def test_the_data_is_the_lead_as_it_is_with_what_it_was() -> None:
    was, now = lead(ProspectStage="New"), lead(ProspectStage="Won", ModifiedOn=LATER)
    [item] = items(KIND, {"Before": was, "After": now})
    assert item.data == {**now, "Before": was}
    assert items(KIND, lead())[0].data == lead()


@each("after", [None, 5, "text", [], [lead()]])
def test_an_after_that_is_no_lead_is_kept_for_people(after: Any) -> None:
    [item] = items(KIND, {"Before": lead(), "After": after})
    assert (item.type, item.problem) == ("lead.unknown", "After is not a JSON object.")


@each("id_", [None, "", True, [], {}, 1e300])
def test_a_lead_without_an_id_is_kept_for_people(id_: Any) -> None:
    [item] = items(KIND, lead(ProspectID=id_))
    assert item.problem == "The event can't be read: ProspectID is missing."


@each("time", [None, 5, True, "soon", [], {}, "\ud83d", "2026-99-99", 10**30])
def test_times_of_any_type_are_no_exception(time: Any) -> None:
    assert items(KIND, lead(CreatedOn=time, ModifiedOn=time))[0].problem is None


@each(
    ("flag", "is_out"),
    [
        ("0", False),
        (None, False),
        ("", False),
        (0, False),
        (False, False),
        ("No", False),
        ("1", True),
        (1, True),
        (True, True),
        ("Yes", True),
        (["?"], True),
    ],
)
def test_do_not_call(flag: Any, is_out: bool) -> None:
    assert OPT_OUT.search(lead(DoNotCall=flag)) is is_out
    assert OPT_OUT.search({"Current": lead(DoNotCall=flag)}) is is_out


def test_what_the_lead_was_does_not_suppress_it() -> None:
    body = {"Before": lead(DoNotCall="1"), "After": lead(DoNotCall="0", ModifiedOn=LATER)}
    assert OPT_OUT.search(items(KIND, body)[0].data) is False


def test_only_a_lead_has_a_page() -> None:
    assert record_page("lead", {}) == "LeadManagement/LeadDetails?LeadID="
    assert record_page("task", {}) is None
