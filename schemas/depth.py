"""How deep JSON from outside may be nested: webhook bodies, and records that a CRM answers with."""

from typing import Any, Final

# No CRM nests a tenth of this deep. orjson reads 1024 levels and writes 254, so it can read what it
# could not write to the store.
MAX_DEPTH: Final = 64


def is_shallow(content: Any) -> bool:
    """Say whether decoded JSON is nested at most MAX_DEPTH levels deep."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False
