"""The list of capabilities: a new one is a module of this package, and one line here."""

from collections.abc import Callable
from importlib import import_module

from .capability import Capability
from .composition import Composition

__all__ = ["CAPABILITIES"]

_MODULES = (
    "ingestion",
    "processing",
    "read_models",
    "dead_letters",
    "state",
    "sending",
    "claims",
    "retention",
    "encryption",
    "secrets",
    "rotation",
    "authentication",
)

CAPABILITIES: tuple[Callable[[Composition], Capability], ...] = tuple(
    import_module(f"{__package__}.{name}").capability for name in _MODULES
)
"""What makes each of them."""
