"""How the app is put together: what each capability brings, the parts that they share, and the checks of both."""

from .capabilities import CAPABILITIES
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
