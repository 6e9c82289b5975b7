"""How the app is put together: what each capability brings, the parts that they share, and the checks of both."""

from collections.abc import Callable

from . import (
    authentication,
    claims,
    dead_letters,
    encryption,
    ingestion,
    processing,
    read_models,
    retention,
    rotation,
    secrets,
    sending,
    state,
)
from .capability import Capability, Command
from .composing import WrongComposition, capabilities_of, compose, contradictions
from .composition import Composition
from .declaring import Access, Container, Hub, Key, Need, Queue, Resource, Table, Vault

__all__ = [
    "CAPABILITIES",
    "Access",
    "Capability",
    "Command",
    "Composition",
    "Container",
    "Hub",
    "Key",
    "Need",
    "Queue",
    "Resource",
    "Table",
    "Vault",
    "WrongComposition",
    "capabilities_of",
    "compose",
    "contradictions",
]

CAPABILITIES: tuple[Callable[[Composition], Capability], ...] = (
    ingestion.capability,
    processing.capability,
    read_models.capability,
    dead_letters.capability,
    state.capability,
    sending.capability,
    claims.capability,
    retention.capability,
    encryption.capability,
    secrets.capability,
    rotation.capability,
    authentication.capability,
)
"""What the app can do, one line each."""
