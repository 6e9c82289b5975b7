"""Queues and hubs from the emulator's configuration, which the infrastructure reads too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.doctor.facts import Hub, Place, Queue
from local_azure.broker.durations import parse_duration

__all__ = ["EVENT_HUBS", "SERVICE_BUS", "hubs_of", "queues_of"]

SERVICE_BUS = "local/config/servicebus.json"
EVENT_HUBS = "local/config/eventhubs.json"


def queues_of(project: Path) -> dict[str, Queue]:
    """The queues of the Service Bus file by name.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        The file can't be read or isn't such a file.
    """
    text = (project / SERVICE_BUS).read_text(encoding="utf-8")
    namespaces = json.loads(text)["UserConfig"]["Namespaces"]
    return {
        queue["Name"]: _queue(queue["Name"], queue.get("Properties", {}), _place(text, SERVICE_BUS, queue["Name"]))
        for namespace in namespaces
        for queue in namespace.get("Queues", [])
    }


def _queue(name: str, given: dict[str, Any], place: Place) -> Queue:
    return Queue(
        name=name,
        place=place,
        lock=parse_duration(given.get("LockDuration", "PT1M")),
        ttl=parse_duration(given.get("DefaultMessageTimeToLive", "P14D")),
        max_deliveries=int(given.get("MaxDeliveryCount", 10)),
        sessions=bool(given.get("RequiresSession", False)),
        duplicate_detection=bool(given.get("RequiresDuplicateDetection", False)),
        forwards_to=str(given.get("ForwardTo") or ""),
        forwards_dead_letters_to=str(given.get("ForwardDeadLetteredMessagesTo") or ""),
        dead_letters_expired=bool(given.get("DeadLetteringOnMessageExpiration", False)),
    )


def hubs_of(project: Path) -> dict[str, Hub]:
    """The hubs of the Event Hubs file by name.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        The file can't be read or isn't such a file.
    """
    text = (project / EVENT_HUBS).read_text(encoding="utf-8")
    return {hub.name: hub for hub in _hubs(text)}


def _hubs(text: str) -> Iterator[Hub]:
    for namespace in json.loads(text)["UserConfig"]["NamespaceConfig"]:
        for entity in namespace.get("Entities", []):
            yield Hub(
                name=entity["Name"],
                place=_place(text, EVENT_HUBS, entity["Name"]),
                partitions=int(entity.get("PartitionCount", 1)),
                groups=frozenset(group["Name"] for group in entity.get("ConsumerGroups", [])),
            )


def _place(text: str, file: str, name: str) -> Place:
    for number, line in enumerate(text.splitlines(), 1):
        if f'"{name}"' in line:
            return Place(file, number)
    return Place(file)
