"""A Redis of their own for the tests of upgrades."""

from collections.abc import Iterator

import pytest
from support import Valkey, valkey_in_memory


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A Valkey that no other process looks at.

    The web process that other tests share looks for old names every few seconds. A test writes the
    keys of an old release one by one. In between, that process moved the first keys and marked the
    store as migrated, and the last old key stayed: bridge:orphan:of-nobody of records-2451990.
    """
    with valkey_in_memory() as server:
        yield server
