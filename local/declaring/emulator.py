"""The emulator's two files, in the format of Microsoft's emulators, from what the app declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["event_hubs_config", "service_bus_config"]

_WINDOW = "PT10M"
"""Of duplicate detection, where a queue has it: the service wants one stated either way."""


def service_bus_config(declared: Mapping[str, Any]) -> dict[str, Any]:
    """`Config.json` of the Service Bus emulator, with every queue."""
    queues = [
        {
            "Name": queue["name"],
            "Properties": {
                "DeadLetteringOnMessageExpiration": queue["deadLettersExpired"],
                "DefaultMessageTimeToLive": queue["timeToLive"],
                "DuplicateDetectionHistoryTimeWindow": _WINDOW,
                "ForwardDeadLetteredMessagesTo": "",
                "ForwardTo": "",
                "LockDuration": queue["lock"],
                "MaxDeliveryCount": queue["deliveries"],
                "RequiresDuplicateDetection": queue["duplicateDetection"],
                "RequiresSession": queue["sessions"],
            },
        }
        for queue in declared["queues"]
    ]
    namespace = {"Name": "sbemulatorns", "Queues": queues, "Topics": []}
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}


def event_hubs_config(declared: Mapping[str, Any]) -> dict[str, Any]:
    """`Config.json` of the Event Hubs emulator, with every hub and its consumer groups."""
    hubs = [
        {
            "Name": hub["name"],
            "PartitionCount": hub["partitions"],
            "ConsumerGroups": [{"Name": group} for group in hub["groups"]],
        }
        for hub in declared["hubs"]
    ]
    namespace = {"Type": "EventHub", "Name": "emulatorNs1", "Entities": hubs}
    return {"UserConfig": {"NamespaceConfig": [namespace], "LoggingConfig": {"Type": "File"}}}
