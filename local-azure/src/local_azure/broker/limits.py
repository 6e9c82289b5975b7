"""Every limit of every property in one table, for configuration files and for the management API alike.

Sources: "Service Bus quotas", "Event Hubs quotas and limits", "Naming rules for Azure resources" in the Azure
documentation, and what the service's own clients check (`AdministrationClientConstants` of
Azure.Messaging.ServiceBus). `service` says what the service takes where this broker is wider on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from local_azure.broker.durations import FOREVER, format_duration

__all__ = ["LIMITS", "MAX_IDENTIFIER", "MAX_PROPERTIES_BYTES", "Limit"]


@dataclass(frozen=True, slots=True)
class Limit:
    """From `smallest` to `largest`, both allowed: a duration, a whole number, or a number of characters."""

    smallest: timedelta | int
    largest: timedelta | int
    service: str = ""

    def allows(self, value: Any) -> bool:
        """Whether a duration, a number or a count lies within."""
        smallest: Any = self.smallest
        return bool(smallest <= value <= self.largest)

    @property
    def bounds(self) -> str:
        """Both ends as text, such as "PT20S to P7D"."""
        return f"{_text(self.smallest)} to {_text(self.largest)}"


def _text(bound: timedelta | int) -> str:
    return format_duration(bound) if isinstance(bound, timedelta) else str(bound)


LIMITS: Final[Mapping[str, Limit]] = {
    "lock_duration": Limit(timedelta(milliseconds=1), timedelta(minutes=5)),
    "max_delivery_count": Limit(1, 2_000),
    "default_message_time_to_live": Limit(timedelta(seconds=1), FOREVER),
    "duplicate_detection_history_time_window": Limit(timedelta(seconds=20), timedelta(days=7)),
    "auto_delete_on_idle": Limit(timedelta(minutes=5), FOREVER),
    "max_size_in_megabytes": Limit(1, 81_920, "1,024 to 5,120 in steps of 1,024; premium to 81,920"),
    "max_message_size_in_kilobytes": Limit(1, 102_400, "256; premium 1,024 to 102,400"),
    "user_metadata": Limit(0, 1_024),
    "expression": Limit(1, 1_024),
    "property key": Limit(1, 128),
    "partition_count": Limit(1, 32),
    "retention_hours": Limit(1, 2_160, "1 to 168; premium to 2,160"),
    "retention_megabytes": Limit(1, 1_000_000, "no such property"),
    "consumer_groups": Limit(1, 1_000, "1 to 20; premium to 100"),
    "authorization_rules": Limit(0, 12),
    "authorization rule name": Limit(1, 256),
    "queue or topic name": Limit(1, 260),
    "event hub name": Limit(1, 256),
    "subscription, rule or consumer group name": Limit(1, 50),
}
"""By the description's field, or by what it is."""

MAX_IDENTIFIER: Final = 128
"""Characters of a message id, session id, reply-to session id or partition key ("Service Bus quotas")."""

MAX_PROPERTIES_BYTES: Final = 65_536
"""Bytes of a message's header and properties together, its own and the application's ("Service Bus quotas")."""
