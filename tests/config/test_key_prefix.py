"""The prefix of all keys: a hash tag in a cluster, and as always anywhere else."""

import pytest
from support import each

from config.key_prefix import is_cluster, prefix_of, problem_of_name, rq_prefix_of

ONE_REDIS = ("redis://h", "rediss://h", "unix:///x", "sentinel://h/s", "")


@each("url", ONE_REDIS)
@pytest.mark.parametrize("name", ["", "north"])
def test_keys_outside_of_a_cluster_stay_as_they_are(url: str, name: str) -> None:
    assert not is_cluster(url)
    assert prefix_of(url, name) == "bridge:"
    assert rq_prefix_of(prefix_of(url, name)) == "rq"


@each("url", ("cluster://h:6379", "clusters://u:p@h,i"))
def test_all_keys_of_a_bridge_in_a_cluster_share_one_tag(url: str) -> None:
    assert is_cluster(url)
    assert (prefix_of(url), rq_prefix_of(prefix_of(url))) == ("{bridge}:", "{bridge}:rq")
    named = prefix_of(url, "north-1")
    assert (named, rq_prefix_of(named)) == ("{bridge-north-1}:", "{bridge-north-1}:rq")


@each("name", ("", "a", "north-1", "x" * 32))
def test_a_name_parts_the_bridges_of_a_cluster(name: str) -> None:
    assert problem_of_name(name, "cluster://h") is None


@each("name", ("A", "a b", "a}", "x" * 33, "é", "a\n"))
def test_a_wrong_name_is_refused(name: str) -> None:
    assert problem_of_name(name, "cluster://h") == "must be 1 to 32 characters of a-z, 0-9 and -"


@each("url", ("redis://h", "sentinel://h/s"))
def test_a_name_without_a_cluster_is_refused(url: str) -> None:
    assert "only for a cluster" in (problem_of_name("north", url) or "")
    assert problem_of_name("north", "") is None, "not known: a command that needs no Redis"
