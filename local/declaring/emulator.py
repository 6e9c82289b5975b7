"""The emulator's two files, in the format of Microsoft's emulators, from what the app declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_azure.broker.config import parse_config

__all__ = ["event_hubs_config", "service_bus_config"]

_WINDOW = "PT10M"
"""Of duplicate detection, where a queue has it: the service wants one stated either way."""


def service_bus_config(declared: Mapping[str, Any]) -> dict[str, Any]:
    """`Config.json` of the Service Bus emulator, with every queue and topic.

    Raises
    ------
    ConfigError
        The broker would refuse it: a filter that is no SQL, or forwarding that leads back.
    """
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
    topics = [
        {
            "Name": topic["name"],
            "Properties": {
                "DefaultMessageTimeToLive": topic["timeToLive"],
                "DuplicateDetectionHistoryTimeWindow": _WINDOW,
                "RequiresDuplicateDetection": False,
            },
            "Subscriptions": [_subscription(one) for one in declared["subscriptions"] if one["topic"] == topic["name"]],
        }
        for topic in declared["topics"]
    ]
    namespace = {"Name": "sbemulatorns", "Queues": queues, "Topics": topics}
    config = {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}
    parse_config(json.dumps(config), source="local/config/servicebus.json")  # as the broker does at its start
    return config


def _subscription(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Name": declared["name"],
        "Properties": {
            "DeadLetteringOnMessageExpiration": declared["deadLettersExpired"],
            "DefaultMessageTimeToLive": declared["timeToLive"],
            "ForwardDeadLetteredMessagesTo": "",
            "ForwardTo": declared["forwardTo"],
            "LockDuration": declared["lock"],
            "MaxDeliveryCount": declared["deliveries"],
            "RequiresSession": False,
        },
        # The service makes this rule with every subscription, and it lets everything through.
        "Rules": [
            {
                "Name": "$Default",
                "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": declared["where"]}},
            }
        ],
    }


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
