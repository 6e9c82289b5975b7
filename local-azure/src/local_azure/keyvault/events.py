"""What subscribers are told, in the Event Grid schema (learn.microsoft.com: "Azure Key Vault as Event Grid source")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from local_azure.keyvault.items import Item, Kind, Occurrence, Version
from local_azure.keyvault.wire import item_address

__all__ = ["Subscription", "event_of"]

_TOPIC: Final = "/subscriptions/local/resourceGroups/local/providers/Microsoft.KeyVault/vaults/"


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where events go: to an Event Grid webhook, or to a queue of Service Bus."""

    name: str
    webhook: str = ""
    service_bus: str = field(default="", repr=False)
    queue: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A subscription needs a name.")
        if bool(self.webhook) == bool(self.service_bus and self.queue):
            raise ValueError(f"Subscription {self.name} needs either webhook, or service_bus and queue.")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Subscription:
        """The subscription that an object describes.

        Raises
        ------
        ValueError
            If it does not.
        """
        if set(content) - {"name", "webhook", "service_bus", "queue"} or not all(
            isinstance(value, str) for value in content.values()
        ):
            raise ValueError("A subscription has the texts name, webhook, service_bus and queue.")
        return cls(**{"name": "", **content})

    def write(self) -> dict[str, str]:
        """The object that `read` understands."""
        return asdict(self)


def event_of(
    kind: Kind, item: Item, version: Version, happened: Occurrence, *, base: str, identity: str, at: int
) -> dict[str, Any]:
    """One event; `at` is in seconds since the epoch."""
    vault = base.partition("://")[2]
    return {
        "id": identity,
        "topic": _TOPIC + vault,
        "subject": item.name,
        "eventType": f"Microsoft.KeyVault.{kind.noun}{happened}",
        "eventTime": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "Id": item_address(base, kind, item.name, version.id),
            "VaultName": vault,
            "ObjectType": kind.noun,
            "ObjectName": item.name,
            "Version": version.id,
            "NBF": version.attributes.not_before,
            "EXP": version.attributes.expires,
        },
        "dataVersion": "1",
        "metadataVersion": "1",
    }
