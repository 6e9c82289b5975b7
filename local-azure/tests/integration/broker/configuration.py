"""The entities that the conformance tests use, in the official emulators' form."""

from __future__ import annotations

from typing import Any

__all__ = ["EVENT_HUBS", "SERVICE_BUS"]


def _queue(name: str, **properties: Any) -> dict[str, Any]:
    return {"Name": name, "Properties": properties}


SERVICE_BUS: dict[str, Any] = {
    "UserConfig": {
        "Namespaces": [
            {
                "Name": "sbemulatorns",
                "Queues": [
                    _queue("plain"),
                    _queue("second"),
                    _queue("short-locks", LockDuration="PT1S", MaxDeliveryCount=2),
                    _queue("three-deliveries", MaxDeliveryCount=3),
                    _queue("short-lives", DefaultMessageTimeToLive="PT1S", DeadLetteringOnMessageExpiration=True),
                    _queue("forgetful", DefaultMessageTimeToLive="PT1S"),
                    _queue(
                        "no-duplicates", RequiresDuplicateDetection=True, DuplicateDetectionHistoryTimeWindow="PT20S"
                    ),
                    _queue("sessions", RequiresSession=True, LockDuration="PT30S"),
                    _queue("short-sessions", RequiresSession=True, LockDuration="PT1S"),
                    _queue("destination"),
                    _queue("forwarding", ForwardTo="destination"),
                    _queue("graveyard"),
                    _queue("burying", ForwardDeadLetteredMessagesTo="graveyard"),
                    _queue("small", MaxSizeInMegabytes=1),
                    _queue("premium", MaxMessageSizeInKilobytes=10240),
                    _queue("disabled", Status="Disabled"),
                    _queue("send-disabled", Status="SendDisabled"),
                ],
                "Topics": [
                    {
                        "Name": "topic",
                        "Subscriptions": [
                            {"Name": "all"},
                            {
                                "Name": "red",
                                "Rules": [
                                    {
                                        "Name": "red",
                                        "Properties": {
                                            "FilterType": "Sql",
                                            "SqlFilter": {"SqlExpression": "colour = 'red' AND size > 2"},
                                        },
                                    }
                                ],
                            },
                        ],
                    }
                ],
            }
        ],
        "Logging": {"Type": "File"},
    }
}

EVENT_HUBS: dict[str, Any] = {
    "UserConfig": {
        "NamespaceConfig": [
            {
                "Type": "EventHub",
                "Name": "emulatorNs1",
                "Entities": [
                    {"Name": "hub", "PartitionCount": 4, "ConsumerGroups": [{"Name": "group"}]},
                    {"Name": "single", "PartitionCount": 1, "ConsumerGroups": []},
                    {"Name": "positions", "PartitionCount": 1, "ConsumerGroups": []},
                    {"Name": "balanced", "PartitionCount": 4, "ConsumerGroups": [{"Name": "group"}]},
                ],
            }
        ],
        "LoggingConfig": {"Type": "File"},
    }
}
