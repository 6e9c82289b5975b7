"""Fixtures for pytest: Azure services on free ports that keep nothing.

They are made once for the whole session. With `local_azure_scope = "test"` among pytest's settings each test gets
services of its own, with "module" each module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:  # a session that uses none of this imports none of it
    from local_azure.broker.running import RunningBroker
    from local_azure.testing import (
        EventGrid,
        EventHubs,
        FunctionsApps,
        KeyVault,
        ManagedIdentity,
        Partner,
        ServiceBus,
        Services,
    )

__all__ = ["event_grid", "event_hubs", "functions_app", "key_vault", "managed_identity", "partner", "service_bus"]

_SCOPES: dict[str, Literal["session", "module", "function"]] = {
    "session": "session",
    "module": "module",
    "test": "function",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's one setting."""
    parser.addini("local_azure_scope", f"how long Azure services live: {', '.join(_SCOPES)}", default="session")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a setting that is none."""
    chosen = config.getini("local_azure_scope")
    if chosen not in _SCOPES:
        raise pytest.UsageError(f"local_azure_scope is {chosen!r}: use one of {', '.join(_SCOPES)}")


def _scope(fixture_name: str, config: pytest.Config) -> Literal["session", "module", "function"]:
    return _SCOPES[config.getini("local_azure_scope")]


@pytest.fixture(scope=_scope)
def _local_azure_services() -> Iterator[Services]:
    from local_azure.testing import Services

    services = Services()
    yield services
    services.close()


@pytest.fixture(scope=_scope)
def _local_azure_environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as environment:
        yield environment


@pytest.fixture(scope=_scope)
def _local_azure_broker(_local_azure_services: Services) -> RunningBroker:
    from local_azure.broker.config import Namespace
    from local_azure.broker.running import running_broker

    return _local_azure_services.start(running_broker(Namespace()))


@pytest.fixture(scope=_scope)
def service_bus(_local_azure_services: Services, _local_azure_broker: RunningBroker) -> ServiceBus:
    """A Service Bus namespace: `service_bus.connection_string`, `service_bus.queue("orders")`."""
    from local_azure.testing import ServiceBus

    return ServiceBus(_local_azure_services, _local_azure_broker)


@pytest.fixture(scope=_scope)
def event_hubs(_local_azure_services: Services, _local_azure_broker: RunningBroker) -> EventHubs:
    """An Event Hubs namespace: `event_hubs.connection_string`, `event_hubs.hub("readings", partitions=4)`."""
    from local_azure.testing import EventHubs

    return EventHubs(_local_azure_services, _local_azure_broker)


@pytest.fixture(scope=_scope)
def managed_identity(
    _local_azure_services: Services,
    _local_azure_environment: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> ManagedIdentity:
    """A managed identity, which the credentials of `azure-identity` find in this process's environment."""
    from local_azure.testing import ManagedIdentity
    from local_azure.testing.identity import lead_to

    identity = ManagedIdentity(_local_azure_services, tmp_path_factory.mktemp("identity"))
    lead_to(identity, _local_azure_environment)
    return identity


@pytest.fixture(scope=_scope)
def key_vault(
    _local_azure_services: Services,
    _local_azure_environment: pytest.MonkeyPatch,
    managed_identity: ManagedIdentity,
    tmp_path_factory: pytest.TempPathFactory,
) -> KeyVault:
    """A Key Vault that the managed identity administers: `key_vault.uri`, `key_vault.set("password", "…")`."""
    from local_azure.testing import KeyVault
    from local_azure.testing.identity import trust

    vault = KeyVault(_local_azure_services, managed_identity, tmp_path_factory.mktemp("vault"))
    trust(vault.ca_bundle, _local_azure_environment)
    return vault


@pytest.fixture(scope=_scope)
def _local_azure_partner(_local_azure_services: Services) -> Partner:
    from local_azure.testing import Partner

    return Partner(_local_azure_services)


@pytest.fixture
def partner(_local_azure_partner: Partner) -> Partner:
    """Somebody else's API, which has forgotten the test before: `partner.url`, `partner.answers(status=503)`."""
    _local_azure_partner.reset()
    return _local_azure_partner


@pytest.fixture(scope=_scope)
def _local_azure_event_grid(_local_azure_services: Services, _local_azure_broker: RunningBroker) -> EventGrid:
    from local_azure.testing import EventGrid

    return EventGrid(_local_azure_services, _local_azure_broker.connection_string)


@pytest.fixture
def event_grid(_local_azure_event_grid: EventGrid) -> EventGrid:
    """An Event Grid without topics; its queues are those of `service_bus`: `event_grid.topic("orders").endpoint`."""
    _local_azure_event_grid.reset()
    return _local_azure_event_grid


@pytest.fixture(scope=_scope)
def functions_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsApps]:
    """Starts function apps: `functions_app("path/of/app", ServiceBus=service_bus.connection_string).url`."""
    from local_azure.testing import FunctionsApps

    apps = FunctionsApps(tmp_path_factory.mktemp("functions"))
    yield apps
    apps.close()
