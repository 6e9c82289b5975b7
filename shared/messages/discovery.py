"""Finds what the modules of a package declare."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from .declared import Declaration
from .registry import Declared, Registry

__all__ = ["discover"]


def discover(package: ModuleType) -> Registry:
    """Import every module of a package, and gather what they have at their top level.

    That is the `Integration` objects of the modules themselves; what is declared beside them may stand deeper.
    """
    found: dict[int, Declared] = {}
    beside: dict[int, Declaration] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        imported = importlib.import_module(module.name)
        for value in vars(imported).values():
            if isinstance(value, Declared):
                found.setdefault(id(value), value)
        for part in _parts(module.name):
            beside.update((id(value), value) for value in vars(part).values() if isinstance(value, Declaration))
    return Registry(found.values(), beside=beside.values())


def _parts(name: str) -> Iterator[ModuleType]:
    """A module, and what was imported beneath it."""
    beneath = f"{name}."
    return (part for key, part in sorted(sys.modules.items()) if key == name or key.startswith(beneath))
