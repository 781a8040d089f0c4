"""The worker's spans: what a drain tells config/tracing.py of each delivery that it claims."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from config import tracing
from config.tracing import Facts, SpanName
from rules.verdict import Verdict
from schemas.http_result import HttpResult
from schemas.records import Claim, Move
from schemas.write_back import WriteBackClaim

Claimed = TypeVar("Claimed", Claim, WriteBackClaim)
Result = TypeVar("Result")


def claimed(claims: Sequence[Claimed], began_ns: int) -> Sequence[Claimed]:
    """Return claims, each with the span that its other spans name as their parent."""
    if not tracing.is_on():
        return claims
    return [
        replace(
            claim,
            traceparent=tracing.note(
                "claim",
                _facts(claim),
                parent=claim.event.traceparent if claim.event else None,
                began_ns=began_ns,
            ),
        )
        for claim in claims
    ]


def around(
    name: SpanName,
    claims: Sequence[Claim],
    task: Callable[[], Result],
    read: Callable[[Claim, Result], Facts],
) -> Callable[[], Result]:
    """Return a task of the pool that also makes a span for each claim that its request is for.

    read: what the result says of a claim.
    """
    return partial(_run, name, claims, task, read) if tracing.is_on() else task


def answered(claim: Claim, result: HttpResult, meant: Verdict) -> Facts:
    """Return what is told of a request, its answer and what that means."""
    return replace(
        _facts(claim),
        status=meant.meaning.name.lower(),
        status_code=result.status_code,
        error=result.error,
    )


def asked(claim: Claim, error: object = None) -> Facts:
    """Return what is told of a CRM that was asked for a record. error: only its class is told."""
    return replace(_facts(claim), error=None if error is None else type(error).__name__)


def settled(claim: Claim, move: Move, answer: str, began_ns: int) -> None:
    """Tell which move ended a claim. answer: the store's; other than ok: somebody else moved it."""
    if tracing.is_on():
        status = move.to if answer == "ok" else "lost"
        facts = replace(_facts(claim), status=status, reason=move.reason)
        tracing.note("settle", facts, parent=claim.traceparent, began_ns=began_ns)


def _run(
    name: SpanName,
    claims: Sequence[Claim],
    task: Callable[[], Result],
    read: Callable[[Claim, Result], Facts],
) -> Result:
    began_ns = time.time_ns()
    try:
        result = task()
    except Exception as error:
        for claim in claims:
            tracing.note(name, asked(claim, error), parent=claim.traceparent, began_ns=began_ns)
        raise
    with tracing.harmless():
        for claim in claims:
            facts = read(claim, result)
            tracing.note(name, facts, parent=claim.traceparent, began_ns=began_ns)
    return result


def _facts(claim: Claim | WriteBackClaim) -> Facts:
    delivery = claim.delivery
    return Facts(
        source=delivery.source,
        event=delivery.event_id,
        delivery=delivery.id,
        route=delivery.route,
        attempt=len(delivery.attempts) + 1,
    )
