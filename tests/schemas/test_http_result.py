"""When an answer wants the next request."""

import pytest

from schemas.http_result import HttpResult


@pytest.mark.parametrize(
    ("headers", "status_code", "wait_s"),
    [
        ({"RateLimit": "limit=100, remaining=0, reset=5"}, 429, 5.0),
        ({"RateLimit": "reset=5;w=10"}, 429, 5.0),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, 200, None),
        ({"RateLimit": "limit=100, remaining=0"}, 429, None),
        ({"RateLimit": "limit=100, x-reset=5"}, 429, None),
        ({"RateLimit": "reset=-5, reset=12345678, reset=٣, reset=1.5"}, 429, None),
        ({"RateLimit": "reset=5", "Retry-After": "7"}, 429, 7.0),
        ({}, 429, None),
    ],
)
def test_a_rate_limit_says_when_if_no_retry_after_does(
    headers: dict[str, str], status_code: int, wait_s: float | None
) -> None:
    result = HttpResult(sent=True, duration_ms=1, status_code=status_code, headers=headers)
    assert result.retry_after_s == wait_s
