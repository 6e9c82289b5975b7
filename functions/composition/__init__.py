"""How the app is put together: what each capability brings, the parts that they share, and the checks of both."""

from .capabilities import CAPABILITIES, SETTINGS
from .capability import Capability, Command
from .composing import WrongComposition, capabilities_of, compose, contradictions
from .composition import Composition
from .declarations import declarations
from .declaring import Access, Container, Hub, Key, Need, Queue, Subscription, Table, Topic, Vault, WrongDeclaration
from .synthetic import with_synthetic

__all__ = [
    "CAPABILITIES",
    "SETTINGS",
    "Access",
    "Capability",
    "Command",
    "Composition",
    "Container",
    "Hub",
    "Key",
    "Need",
    "Queue",
    "Subscription",
    "Table",
    "Topic",
    "Vault",
    "WrongComposition",
    "WrongDeclaration",
    "capabilities_of",
    "compose",
    "contradictions",
    "declarations",
    "with_synthetic",
]
