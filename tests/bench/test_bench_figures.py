"""What the benchmark makes of its rounds: figures with targets, tables for the docs, plots."""

import signal
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import pytest
import requests
from rich.console import Console

from bench import svg
from bench.__main__ import FULL, PARTS, PLANS, QUICK, TINY, Run, remarks
from bench.checkout import Checkout, started_web
from bench.intake import Taken
from bench.latency import Waited
from bench.load import Load
from bench.machine import Machine
from bench.processes import BenchError, Child, Valkey, stopped_by_sigterm
from bench.quote import differences, markdown
from bench.rest import AtRest, _count
from bench.results import Results, Row, rows
from bench.soak import Look, Soak
from bench.soak import plot as soak_plot
from bench.spread import Spread
from workers.ticker import BUSY_S

MACHINE = Machine(
    cpu="A CPU",
    cores=2,
    memory_gb=24,
    kernel="Linux 6",
    python="3.12",
    valkey="9.1",
    load_before=0.1,
)


def taken(*, per_s: float, p99_ms: float = 50) -> Taken:
    load = Load(requests=100, wall_s=100 / per_s, p50_ms=5, p99_ms=p99_ms, errors=0, busy=0.3)
    return Taken(load=load, events=100, cpu_s=0.1, store_cpu_s=0.02)


def results_of(*rates: tuple[float, float, float]) -> Results:
    """Return rounds of the intake; rates: of the floor, of the bridge, of the one before."""
    names = ("floor", "bridge", "before")
    rounds = [
        {name: taken(per_s=per_s) for name, per_s in zip(names, each, strict=True)}
        for each in rates
    ]
    return Results(singles=rounds, batches=rounds)


def row_of(results: Results, name: str) -> Row:
    [found] = [row for row in rows(results) if row.name == name]
    return found


def run_of(results: Results) -> dict[str, Any]:
    found = [asdict(row) for row in rows(results)]
    return {"at": "2026-11-29T12:00:00+00:00", "machine": asdict(MACHINE), "rows": found}


def test_a_ratio_is_of_one_round_and_not_of_two_medians() -> None:
    row = row_of(
        results_of((1000, 500, 250), (2000, 800, 800), (100, 50, 25)), "webhooks/s, 1 event each"
    )
    assert row.ratio == Spread(median=0.5, low=0.4, high=0.5, rounds=3)
    assert row.before == Spread(median=2, low=1, high=2, rounds=3)
    assert row.figure.median == 500
    assert row.is_met


@pytest.mark.parametrize(("ours", "is_met"), [(750.0, True), (740.0, False)])
def test_batches_must_be_three_times_as_fast_as_before(ours: float, is_met: bool) -> None:
    row = row_of(results_of((1000, ours, 250)), "events/s, 100 in a webhook")
    assert row.is_met is is_met


def test_without_another_checkout_nobody_knows_whether_it_was_met() -> None:
    results = results_of((1000, 500, 250))
    for round_ in results.batches:
        round_.pop("before", None)
    assert row_of(results, "events/s, 100 in a webhook").is_met is None


def test_a_part_that_failed_costs_no_other_part_its_figures() -> None:
    results = results_of((1000, 500, 250))
    results.add(Results(failures=["calls: The worker ended too early."]))
    results.add(Results(rest={"bridge": AtRest(window_s=60, commands=20, by={})}))
    assert row_of(results, "webhooks/s, 1 event each").figure.median == 500
    assert row_of(results, "Redis commands an hour, idle").figure.median == 1200
    assert results.failures == ["calls: The worker ended too early."]


def test_what_was_not_measured_has_no_row() -> None:
    assert rows(Results()) == []


def test_a_checkout_that_ran_no_command_at_rest_has_no_ratio() -> None:
    ours, before = (AtRest(window_s=60, commands=count, by={}) for count in (20, 0))
    row = row_of(Results(rest={"bridge": ours, "before": before}), "Redis commands an hour, idle")
    assert (row.figure.median, row.before) == (1200, None)


def test_the_slowest_webhook_of_a_few_has_no_ratio() -> None:
    """It is another one in each run, so two runs would never be alike."""
    ours, before = (Waited(full_ms=[ms, ms + 2], thin_ms=[ms, ms + 2]) for ms in (10.0, 40.0))
    results = Results(latency=[{"bridge": ours, "before": before}])
    for figure, is_there in (("p50", True), ("p99", False)):
        row = row_of(results, f"webhook to call, idle, ms, {figure}")
        assert (row.is_met, row.before is not None) == (True, is_there)


def test_the_docs_get_a_table_with_date_machine_and_what_was_not_met() -> None:
    text = markdown(run_of(results_of((1000, 400, 250), (1000, 420, 250))))
    assert text.startswith("`make bench` on 29 November 2026: A CPU, 2 cores, 24 GB; Linux 6;")
    assert (
        "| webhooks/s, 1 event each | ≥ 0.45 of floor | **410 (400-420)** | 0.41 (0.40-0.42) |"
        in text
    )


def test_two_runs_are_compared_by_their_ratios() -> None:
    one, other = results_of((1000, 500, 250)), results_of((2000, 1200, 250))
    found = dict(differences(run_of(one), run_of(other)))
    assert found["webhooks/s, 1 event each, of floor"] == pytest.approx(0.2)
    assert found["events/s, 100 in a webhook, of before"] == pytest.approx(1.4)


def test_two_runs_are_not_alike_if_one_of_them_lacks_a_ratio() -> None:
    whole = run_of(results_of((1000, 500, 250)))
    part = {**whole, "rows": whole["rows"][:1]}
    for found in (dict(differences(whole, part)), dict(differences(part, whole))):
        assert found["webhooks/s, 1 event each, of floor"] == 0
        assert found["events/s, 100 in a webhook, of before"] is None


def test_a_plot_is_svg_as_wide_as_a_phone_and_says_each_figure() -> None:
    found = [
        svg.Bar(name="floor <1>", spread=Spread.of([1000, 1200])),
        svg.Bar(name="bridge", spread=Spread.of([500]), is_ours=True),
    ]
    text = svg.bars(
        "Webhooks & more", "A note that is so long that it does not fit. " * 3, "{:,.0f}", found
    )
    root = ElementTree.fromstring(text)  # noqa: S314  (our own)
    assert root.get("width") == "390"
    words = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert {"Webhooks & more", "floor <1>", "1,100", "500"} <= set(words)
    assert all(len(word or "") <= 60 for word in words)


def test_the_soak_is_drawn_and_clean_only_if_each_event_was_called_once() -> None:
    mb = dict.fromkeys(("web", "worker, supervisor", "worker, RQ", "worker, drains", "Redis"), 50.0)
    looks = [Look(at_s=at_s, mb=mb, sent=10, called=10) for at_s in (0.0, 600.0, 1800.0)]
    found = Soak(events_per_s=200, looks=looks, sent=10, called=10)
    assert found.is_clean
    assert not Soak(events_per_s=200, sent=10, called=9).is_clean
    assert not Soak(events_per_s=200, sent=10, called=10, called_twice=1).is_clean
    root = ElementTree.fromstring(soak_plot(found))  # noqa: S314  (our own)
    assert "web: 50 at the end" in [one.text for one in root.iter()]


def test_commands_in_a_script_count_for_the_script_that_runs() -> None:
    by: Counter[str] = Counter()
    script = ""
    for kind, command in (
        ("tcp", "EVALSHA abc 1 bridge:"),
        ("lua", "hget bridge:a b"),
        ("lua", "TIME"),
        ("tcp", "ping"),
        ("tcp", "INFO commandstats"),
    ):
        script = _count({"client_type": kind, "command": command}, by, {"abc": "audit"}, script)
    assert by == {"audit": 3, "PING": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted(Checkout):
    """A checkout whose user presses Ctrl-C while its web process starts."""

    started: list[Child]

    def web(self, port: int, *, log_dir: Path, env: Mapping[str, str]) -> Child:
        class Starting(Child):
            def wait_for_port(self, port: int) -> Self:
                raise KeyboardInterrupt

        child = Starting("starting", ["sleep", "60"], log_dir=log_dir, env=env)
        self.started.append(child)
        return child


def test_a_web_process_ends_with_the_benchmark_while_it_starts(tmp_path: Path) -> None:
    checkout = Interrupted(name="x", path=tmp_path, started=[])
    with pytest.raises(KeyboardInterrupt):
        started_web(checkout, log_dir=tmp_path, env={})
    [child] = checkout.started
    with pytest.raises(BenchError, match="ended too early"):
        child.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_benchmark_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with stopped_by_sigterm():
            handler = signal.getsignal(number)
    finally:
        signal.signal(number, before)
    assert callable(handler)
    with pytest.raises(KeyboardInterrupt):
        handler(number, None)


def test_under_nohup_the_end_of_the_terminal_does_not_stop_the_benchmark() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_sigterm():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class Failing(Run):
    """A run with a part whose server ends in its second visit, and with another part."""

    def _intake(self, valkey: Valkey, results: Results) -> None:
        if results.singles:
            raise requests.ConnectionError("refused")
        results.singles.append({})

    def _latency(self, valkey: Valkey, results: Results) -> None:
        results.lists_of += 7


def test_a_part_whose_server_ends_costs_no_other_part_its_figures(tmp_path: Path) -> None:
    run = Failing(
        plan=replace(TINY, visits={"intake": 3, "latency": 2}),
        parts=["intake", "latency"],
        checkouts=[],
        queues=[],
        home=tmp_path,
        progress=Console(),
    )
    found = run.measure()
    assert found.failures == ["intake: refused"]
    assert found.singles == []
    assert found.lists_of == 14


def test_the_rounds_that_are_compared_are_spread_over_many_minutes() -> None:
    order = FULL.order(PARTS)
    assert [order.count(part) for part in PARTS] == [5, 5, 3, 1, 1, 1]
    first, last = order.index("intake"), len(order) - order[::-1].index("intake")
    assert last - first > 10
    assert order[-1] == "lists"  # its store has no log
    assert QUICK.order(PARTS) == list(PARTS)


def test_a_bridge_is_at_rest_before_its_commands_at_rest_are_counted() -> None:
    for plan in (FULL, QUICK):
        assert plan.settle_s > BUSY_S + 10  # the start itself takes some seconds


def test_what_a_killed_worker_costs_is_said_only_of_queues_that_were_measured() -> None:
    options = Namespace(alone=True, against=None, plan="full")
    found = Results(waiting=[{}])
    assert not any("is killed" in one for one in remarks(MACHINE, found, 1.0, [], options))


def test_the_tiny_plan_says_that_its_figures_are_not_true() -> None:
    def says_so(plan: str) -> bool:
        options = Namespace(alone=True, against=None, plan=plan)
        return any("tiny" in one for one in remarks(MACHINE, Results(), 1.0, [], options))

    assert [says_so(plan) for plan in PLANS] == [False, False, True]
    assert {plan.batch.events for plan in PLANS.values()} == {100}  # as the tables say
