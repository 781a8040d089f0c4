"""`check` of the CRMs: what their answers mean for the routes that write back.

Nothing here does I/O: workers/crm_check.py asks. A problem surely makes write-backs fail. What is
not known, such as the fields of a CRM that does not answer, is a warning.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from schemas.crm_api import WriteBack, WriteCheck
from schemas.nearest import did_you_mean
from schemas.route import Route
from schemas.settings import Settings
from schemas.source import Source

CALL: Final = "call"  # our word for the CRM's record of a call
_GLOB: Final = frozenset("*?[")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrmFindings:
    """What the CRMs' answers show: sentences without secrets and without people's data."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """What the routes of a source need of its CRM.

    read, written: types of records in our words, "call" for the CRM's record of a call. fields: by
    type, the routes that set fields of such records.
    """

    read: Set[str]
    written: Set[str]
    fields: Mapping[str, Sequence[Route]]


def checked_sources(settings: Settings) -> list[tuple[Source, WriteBack, WriteCheck]]:
    """Return the sources whose CRM is told of calls by its API, and can be asked about that.

    A source without a webhook secret is switched off. Of one without a login, another warning says
    that nothing can be fetched.
    """
    telling = {route.source for route in settings.routes.routes if route.write_back}
    return [
        (source, writer, writer.check)
        for source in settings.routes.sources.values()
        if source.name in telling
        and settings.secrets.get(source.name)
        and settings.writes_by_api(source)
        and settings.has_login(source)
        and (writer := source.kind.write_back)
        and writer.check
    ]


def needed_of(
    settings: Settings, source: Source, writer: WriteBack, findings: CrmFindings
) -> Needed:
    """Return what the routes need; add to the findings those whose records are not known."""
    read: set[str] = set()
    written: set[str] = set()
    fields: dict[str, list[Route]] = {}
    for route in settings.routes.routes:
        if route.source != source.name:
            continue
        named = route.event.partition(".")[0]
        read.add(named)
        subject_type = writer.about.get(named, named)
        if route.write_back is None:
            continue
        is_known = subject_type in writer.subject_types
        if not is_known and not _may_be_written(route, subject_type, source, writer, findings):
            continue
        if route.write_back.call:
            written.add(CALL)
        if route.write_back.fields and is_known:
            written.add(subject_type)
            fields.setdefault(subject_type, []).append(route)
    return Needed(read=read, written=written, fields=fields)


def _may_be_written(
    route: Route, subject_type: str, source: Source, writer: WriteBack, findings: CrmFindings
) -> bool:
    """Say whether records of a type that is not known may be written; add to the findings."""
    known = ", ".join(sorted(writer.subject_types))
    is_open = bool(_GLOB & set(subject_type))
    if is_open or subject_type == source.default_type.partition(".")[0]:
        findings.warnings.append(
            f"route {route.name!r}: its event {route.event!r} names no type of record, so the "
            f"fields that it sets are not checked. The bridge can write to: {known}"
        )
        return True
    findings.problems.append(
        f"route {route.name!r}: the bridge can't write to {source.kind.title}'s {subject_type} "
        f"records. It can write to: {known}"
    )
    return False


def lacking(needs: Sequence[Sequence[str]], granted: Set[str]) -> list[str]:
    """Return the scopes that the login lacks, the narrowest that would do for each need."""
    known = {one.casefold() for one in granted}
    missing = (need[0] for need in needs if not known & {one.casefold() for one in need})
    return list(dict.fromkeys(missing))


def scope_problem(source: Source, scopes: Sequence[str]) -> str:
    """Return the sentence about scopes that the login lacks."""
    noun = "the scope" if len(scopes) == 1 else "the scopes"
    return (
        f"source {source.name!r}: the access to {source.kind.title} lacks {noun} "
        f"{', '.join(scopes)}. Add what is missing in {source.kind.title}, and set the token anew "
        "if it changes"
    )


def field_problems(
    source: Source,
    check: WriteCheck,
    subject_type: str,
    routes: Sequence[Route],
    known: Mapping[str, bool],
) -> Iterator[str]:
    """Yield a sentence for each field that a route sets and the CRM does not take.

    known: by the CRM's field, whether the API can set it.
    """
    title, word = source.kind.title, check.field_word
    for route in routes:
        assert route.write_back is not None  # noqa: S101  (needed_of())
        for name in route.write_back.fields:
            if name not in known:
                writable = [one for one, can_be_set in known.items() if can_be_set]
                hint = f". {did_you_mean(name, writable)}".rstrip(". ")
                yield (
                    f"route {route.name!r}: {title}'s {subject_type} records have no {word} "
                    f"{name!r}{hint}"
                )
            elif not known[name]:
                yield (
                    f"route {route.name!r}: {title} does not let the API set the {word} {name!r} "
                    f"of {subject_type} records: it is read-only or calculated"
                )
