"""REDIS_URL of a cluster: what it may say, and what is shown of it."""

import pytest
from support import each

from config.redis_url import Cluster, is_unproved, problem_of, shown_address, verified

SECRET = "clusters://me:p%40ss%2F@one:1,[::1],two:7/0?ssl_check_hostname=false"


@pytest.mark.parametrize(
    ("url", "addresses", "url_of_first"),
    [
        ("cluster://one", (("one", 6379),), "redis://one:6379/0"),
        ("cluster://one:1,two/0", (("one", 1), ("two", 6379)), "redis://one:1/0"),
        ("cluster://:p@one:1/", (("one", 1),), "redis://:p@one:1/0"),
        ("clusters://[::1]:7", (("::1", 7),), "rediss://[::1]:7/0"),
        ("cluster://one?protocol=2", (("one", 6379),), "redis://one:6379/0?protocol=2"),
        (
            SECRET,
            (("one", 1), ("::1", 6379), ("two", 7)),
            "rediss://me:p%40ss%2F@one:1/0?ssl_check_hostname=false",
        ),
    ],
)
def test_a_cluster_is_read(
    url: str, addresses: tuple[tuple[str, int], ...], url_of_first: str
) -> None:
    assert problem_of(url) is None
    found = Cluster.of(url)
    assert found is not None
    assert found.addresses == addresses
    assert found.url_of(addresses[0]) == url_of_first
    assert "p%40ss" not in repr(found)
    assert "p%40ss" not in (shown_address(url) or "p%40ss")


@each("url", ("redis://one", "sentinel://one/leads", "unix:///one"))
def test_another_address_is_no_cluster(url: str) -> None:
    assert Cluster.of(url) is None


@each(
    "url",
    (
        "cluster://",
        "cluster://:sekret@",
        "cluster://:sekret@one,",
        "cluster://:sekret@one:sekret",
        "cluster://:sekret@[one",
        "cluster://:sekret@one/1",
        "cluster://:sekret@one/0/0",
        "cluster://:sekret@one?db=1",
        "cluster://:sek/ret@one:1",
        "cluster://:12?ret@one:1",
        "cluster://:sek#ret@one:1",
        "cluster://:sekret@one?ssl_cert_reqs=none",
        "cluster://:sekret@one?family=0",
    ),
)
def test_a_wrong_address_is_refused_without_a_word_of_it(url: str) -> None:
    problem = problem_of(url)
    assert problem
    assert "sek" not in problem
    assert "sek" not in (shown_address(url) or "")


def test_only_an_encrypted_cluster_can_go_unproved() -> None:
    assert verified("clusters://one,two", verify=False) == "clusters://one,two?ssl_cert_reqs=none"
    assert verified("cluster://one,two", verify=False) == "cluster://one,two"
    assert is_unproved("clusters://one?ssl_cert_reqs=none")
    assert is_unproved(SECRET)
    assert not is_unproved("clusters://one")
