"""One module for each CRM; it describes the CRM as a `KIND`.

Modules are discovered, so a new CRM is one file here plus sample bodies.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from schemas.source import Kind


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of source by its name, sorted: the KIND of each module here.

    Raises ValueError if two modules use one name.
    """
    found: dict[str, Kind] = {}
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        kind = getattr(importlib.import_module(module.name), "KIND", None)
        if kind is None:  # a module that the others share
            continue
        if kind.name in found:
            raise ValueError(f"two modules of {__name__} define the kind {kind.name!r}")
        found[kind.name] = kind
    return MappingProxyType(dict(sorted(found.items())))
