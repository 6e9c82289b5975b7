"""Why a queue refuses something, in the service's words."""

from __future__ import annotations

from typing import Any

from local_azure.broker.amqp.errors import AmqpError, Condition

__all__ = ["forwarded", "gone", "lock_lost", "reasons"]


def lock_lost() -> AmqpError:
    """A lock token that holds nothing any more."""
    return AmqpError(
        Condition.MESSAGE_LOCK_LOST,
        "The lock supplied is invalid. Either the lock expired, or the message has already been removed from"
        " the queue.",
    )


def forwarded(kind: str) -> AmqpError:
    """Why nobody takes messages out of an entity that sends them on; the service's own words."""
    return AmqpError(
        Condition.NOT_ALLOWED, f"Cannot create a message {kind} on an entity with auto-forwarding enabled."
    )


def gone(path: str) -> AmqpError:
    """An entity that was removed while it was used."""
    return AmqpError(Condition.NOT_FOUND, f"The messaging entity '{path}' was removed")


def reasons(reason: str | None, description: str | None) -> dict[Any, Any]:
    """The application properties of a dead letter that tell why it is one."""
    given = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
    return {key: value for key, value in given.items() if value is not None}
