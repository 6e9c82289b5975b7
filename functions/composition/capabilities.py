"""The list of capabilities: a new one is a module of this package, and one line here."""

from collections.abc import Callable
from importlib import import_module

from shared.settings import Settings

from .capability import Capability
from .composition import Composition

__all__ = ["CAPABILITIES", "SETTINGS"]

_MODULES = (
    "ingestion",
    "bulk",
    "processing",
    "pausing",
    "streams",
    "read_models",
    "graphql",
    "dead_letters",
    "state",
    "sending",
    "partners",
    "claims",
    "uploads",
    "webhooks",
    "retention",
    "encryption",
    "secrets",
    "rotation",
    "audit",
    "authentication",
    "limits",
    "schedules",
    "metrics",
    "synthetic",
    "polling",
    "capturing",
    "changes",
    "subscriptions",
    "notifications",
    "undelivered",
    "lake",
    "bronze",
    "silver",
    "gold",
    "lake_tables",
    "sharing",
    "datasets",
)

_LOADED = [import_module(f"{__package__}.{name}") for name in _MODULES]

CAPABILITIES: tuple[Callable[[Composition], Capability], ...] = tuple(one.capability for one in _LOADED)
"""What makes each of them."""
SETTINGS = Settings.with_slices(one.SETTINGS for one in _LOADED if hasattr(one, "SETTINGS"))
"""The app's settings, with the slices that modules bring under this name; a part asks `settings.slice(...)`."""
