"""How long to wait, with dice in hand."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import each, examples

from rules.backoff import (
    GIVE_UP_AFTER,
    LONGEST_S,
    MAX_ATTEMPTS,
    doubled_s,
    is_spent,
    wait_s,
)

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
HIGH = 1 - 1e-12  # the highest that dice show


@each(
    ("failed", "longest_s"),
    [(1, 2), (2, 4), (3, 8), (4, 16), (9, 512), (10, 900), (11, 900), (40, 900), (10**6, 900)],
)
def test_the_longest_wait_doubles_from_2_s_to_15_min(failed, longest_s):
    assert wait_s(failed, lambda: HIGH) == pytest.approx(longest_s)
    assert wait_s(failed, lambda: 0.5) == pytest.approx(longest_s / 2)
    assert wait_s(failed, lambda: 0.0) == 0


@pytest.mark.parametrize(
    ("retry_after_s", "jitter", "waits_s"),
    [
        (60, 0.0, 60),
        (60, 0.5, 66),
        (60, HIGH, 72),
        (0, 0.5, 1),  # our own wait is the longer one
        (1, HIGH, 2),
        (3600, 0.0, 3600),  # longer than our longest: it is what was asked for
        (1e12, 0.0, 86_400),  # but not for ever
    ],
)
def test_what_the_other_side_asks_for_is_honoured_plus_up_to_a_fifth(
    retry_after_s, jitter, waits_s
):
    assert wait_s(1, lambda: jitter, retry_after_s=retry_after_s) == pytest.approx(waits_s)


@examples(80)
@given(
    failed=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(0, 1e7),
)
def test_a_wait_is_never_negative_nor_shorter_than_asked(failed, jitter, asked):
    found = wait_s(failed, lambda: jitter, retry_after_s=asked)
    asked = min(asked or 0, GIVE_UP_AFTER.total_seconds())
    assert asked <= found <= max(LONGEST_S, 1.2 * asked)


@each(
    ("spent", "since", "over"),
    [
        (0, None, False),
        (MAX_ATTEMPTS - 1, None, False),
        (MAX_ATTEMPTS, None, True),
        (MAX_ATTEMPTS + 1, None, True),
        (1, NOW, False),
        (1, NOW - GIVE_UP_AFTER + timedelta(microseconds=1), False),
        (1, NOW - GIVE_UP_AFTER, True),
        (0, NOW - timedelta(days=2), True),
        (1, NOW + timedelta(minutes=1), False),  # another machine's clock is ahead
    ],
)
def test_attempts_are_used_up_by_number_or_by_time(spent, since, over):
    assert is_spent(spent, since, NOW) is over


def test_all_waits_together_stay_under_a_working_day():
    waits = sum(wait_s(failed, lambda: HIGH) for failed in range(1, MAX_ATTEMPTS))
    assert waits == pytest.approx(28_022, abs=1)  # 7 h 47 min; half of it on average


@examples(200)
@given(st.floats(0.001, 60), st.integers(0, 10**30), st.floats(0.001, 3600))
def test_a_loop_may_fail_for_ever(first_s, failures, longest_s):
    waits_s = doubled_s(first_s, failures, longest_s)
    assert 0 < waits_s <= longest_s
    assert waits_s <= doubled_s(first_s, failures + 1, longest_s)


@each(
    ("failures", "right"), [(0, 0.1), (1, 0.2), (4, 1.6), (5, 2), (1023, 2), (1024, 2), (10**9, 2)]
)
def test_a_wait_doubles_up_to_its_longest(failures, right):
    assert doubled_s(0.1, failures, 2.0) == pytest.approx(right)
