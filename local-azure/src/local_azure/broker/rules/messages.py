"""How a rule sees a message: its system properties by their documented names, and its user properties."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SETTABLE_PROPERTIES", "SYSTEM_PROPERTIES", "TEXT_PROPERTIES", "MessageView", "find_key", "system_name"]

TEXT_PROPERTIES = frozenset(
    {
        "ContentType",
        "CorrelationId",
        "Label",
        "MessageId",
        "PartitionKey",
        "ReplyTo",
        "ReplyToSessionId",
        "SessionId",
        "To",
        "ViaPartitionKey",
    }
)

"""The system properties that are text."""

SETTABLE_PROPERTIES = TEXT_PROPERTIES | {"ScheduledEnqueueTimeUtc", "TimeToLive"}
"""The system properties that an action may SET or REMOVE."""

SYSTEM_PROPERTIES = SETTABLE_PROPERTIES | {
    "DeadLetterSource",
    "DeliveryCount",
    "EnqueuedSequenceNumber",
    "EnqueuedTimeUtc",
    "ExpiresAtUtc",
    "LockedUntilUtc",
    "SequenceNumber",
    "Size",
    "State",
}
"""What `sys.` may name. `Subject` is the newer name of `Label` and means the same."""

_CANONICAL = {name.lower(): name for name in SYSTEM_PROPERTIES} | {"subject": "Label"}


def system_name(name: str) -> str | None:
    """The documented spelling of a system property, or None if there is no such property."""
    return _CANONICAL.get(name.lower())


def find_key(properties: Mapping[str, Any], name: str) -> str | None:
    """The key that holds a user property: names are compared without case, the same case first."""
    if name in properties:
        return name
    lower = name.lower()
    for key in properties:
        if isinstance(key, str) and key.lower() == lower:
            return key
    return None


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message to be judged.

    `system` holds values under the names of `SYSTEM_PROPERTIES`; absent and None both mean "not set".
    Times are milliseconds since the epoch, durations milliseconds. `user` are the application properties
    as they were decoded.
    """

    system: Mapping[str, Any]
    user: Mapping[str, Any]

    def system_property(self, name: str) -> Any:
        """A system property by its documented name; identifiers of any AMQP type are given as text."""
        value = self.system.get(name)
        if value is None or isinstance(value, str) or name not in TEXT_PROPERTIES:
            return value
        return value.hex() if isinstance(value, bytes) else str(value)

    def user_property(self, name: str) -> Any:
        """A user property, None if there is none."""
        if name in self.user:
            return self.user[name]
        key = find_key(self.user, name)
        return None if key is None else self.user[key]

    def has_user_property(self, name: str) -> bool:
        """Whether a user property is there, whatever its value."""
        return find_key(self.user, name) is not None
