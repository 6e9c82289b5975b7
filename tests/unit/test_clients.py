"""Who may make a client of a service: the adapter of a store calls its SDK, and the composition makes adapters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SDK = frozenset(
    {
        "AzureCliCredential", "BlobClient", "BlobServiceClient", "ClientSession", "ContainerClient",
        "CryptographyClient", "DefaultAzureCredential", "EventHubConsumerClient", "EventHubProducerClient",
        "KeyClient", "ManagedIdentityCredential", "SecretClient", "ServiceBusClient", "TableClient",
        "TableServiceClient",
    }
)  # fmt: skip
"""Classes of the SDKs that open connections."""

ADAPTERS = {
    "ops/tracing/workspace.py": {"DefaultAzureCredential"},  # of the operator, not of the app
    "shared/authentication/signing_keys.py": {"ClientSession"},
    "shared/azure_clients/credentials.py": {"AzureCliCredential", "ManagedIdentityCredential"},
    "shared/encryption/wrapping.py": {"CryptographyClient", "KeyClient"},
    "shared/notifications/topic.py": {"ClientSession"},
    "shared/partners/sessions.py": {"ClientSession"},
    "shared/secrets/vault.py": {"SecretClient"},
    "shared/subscriptions/sender.py": {"ClientSession"},
    "shared/tables/azure.py": {"TableClient"},
}
"""The one adapter of each store or service that is reached by a client of its own."""

MADE_BY_COMPOSITION = frozenset({"AzureTable", "Credentials", "Fetcher", "Platform", "SecretCache", "VaultWrapper"})
COMPOSITION = "functions/composition/"
PLAIN = {"shared/tables/azure.py", "shared/testing"}


def made(source: str) -> Iterator[str]:
    """The names of classes that a module calls, also by a class method of theirs."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            while isinstance(called, ast.Attribute):
                yield called.attr
                called = called.value
            if isinstance(called, ast.Name):
                yield called.id
            yield from (one.id for one in node.args if isinstance(one, ast.Name))  # handed over to be called


def wrong(files: dict[str, str]) -> list[str]:
    """What breaks the rule, by file."""
    found = []
    for file, source in files.items():
        if file.startswith(COMPOSITION):
            continue
        names = set(made(source))
        found += [f"{file} makes {name}" for name in sorted((names & SDK) - ADAPTERS.get(file, set()))]
        if file not in PLAIN:
            found += [f"{file} makes {name}" for name in sorted(names & MADE_BY_COMPOSITION)]
    return found


@pytest.fixture(scope="module")
def sources(project: Path) -> dict[str, str]:
    """Everything that is deployed."""
    paths = [path for name in ("functions", "integrations", "ops", "shared") for path in (project / name).rglob("*.py")]
    return {path.relative_to(project).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_only_the_composition_makes_clients(sources: dict[str, str]) -> None:
    """So that one place knows identities and connection strings, and every test can give others."""
    assert wrong(sources) == []


def test_every_adapter_that_is_let_through_is_one(sources: dict[str, str]) -> None:
    """A file that makes no client any more is taken off the list."""
    assert [file for file, names in ADAPTERS.items() if not names & set(made(sources.get(file, "")))] == []


@pytest.mark.parametrize(
    "planted",
    [
        "from azure.data.tables.aio import TableClient\ntable = TableClient('https://x', 'state')\n",
        "import azure.servicebus.aio as bus\nbus.ServiceBusClient.from_connection_string('')",
        "connect(ServiceBusClient.from_connection_string, ServiceBusClient)\n",
        "import aiohttp\nsession = aiohttp.ClientSession()\n",
        "from shared.tables.azure import AzureTable\nAzureTable.at('https://x', 'state')\n",
    ],
)
def test_a_client_elsewhere_is_found(planted: str) -> None:
    """However it is spelt."""
    assert wrong({"shared/state/store.py": planted})
