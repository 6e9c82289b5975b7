"""Azure for tests: services that run in the test's own process, and function apps in processes of their own.

The fixtures of the pytest plugin are made of these; other test runners can use them as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_azure.testing.event_grid import EventGrid
    from local_azure.testing.functions import FunctionsApp, FunctionsApps
    from local_azure.testing.identity import ManagedIdentity
    from local_azure.testing.messaging import EventHubs, ServiceBus
    from local_azure.testing.partner import Partner
    from local_azure.testing.services import Services
    from local_azure.testing.vault import KeyVault

__all__ = [
    "EventGrid",
    "EventHubs",
    "FunctionsApp",
    "FunctionsApps",
    "KeyVault",
    "ManagedIdentity",
    "Partner",
    "ServiceBus",
    "Services",
]

_HOMES = {
    "EventGrid": "event_grid",
    "EventHubs": "messaging",
    "FunctionsApp": "functions",
    "FunctionsApps": "functions",
    "KeyVault": "vault",
    "ManagedIdentity": "identity",
    "Partner": "partner",
    "ServiceBus": "messaging",
    "Services": "services",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a test of queues needs neither the packages of the vault nor the time they take."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
