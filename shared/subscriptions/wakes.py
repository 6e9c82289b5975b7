"""The messages of the deliveries' queue: which delivery is due, or whose turn in order it is.

What is relied on travels in application properties. The body is the event, for a first try that then needs no read, or
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from shared.sending import CoalescingSender, broker_message

__all__ = ["BrokerQueue", "Wake", "WakeQueue"]

INLINE_BYTES = 32 * 1024
"""Of an event that goes along with its message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """What is due.

    Attributes
    ----------
    delivery:
        Empty: whatever waits in order.
    attempt:
        How many attempts had counted when this was sent: a message of an earlier one is a duplicate.
    event:
        The event in JSON, where the row was made by who sent this and nobody else can know of it; else empty.
    forced:
        The subscription's next try in order isn't waited for.
    returns:
        How often the broker gave it up.
    returned:
        It was sent again after an outage, whose try may have got as far as the row: where the row is further on, the
        message of the next try may be missing.
    """

    owner: str
    subscription: str
    delivery: str = ""
    attempt: int = 0
    event: bytes = b""
    forced: bool = False
    returns: int = 0
    returned: bool = False

    def properties(self) -> dict[str, Any]:
        """As they travel."""
        return {
            "owner": self.owner,
            "subscription": self.subscription,
            "delivery": self.delivery,
            "attempt": self.attempt,
            "forced": int(self.forced),
            "returns": self.returns,
            "returned": int(self.returned),
        }

    @classmethod
    def of(cls, properties: Mapping[str, Any], body: bytes) -> "Wake | None":
        """What a message says; None where it is none of ours."""
        texts = [properties.get(name) for name in ("owner", "subscription", "delivery")]
        numbers = [properties.get(name, 0) for name in ("attempt", "forced", "returns", "returned")]
        if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int) for one in numbers):
            return None
        if not texts[1]:
            return None
        return cls(
            owner=str(texts[0]),
            subscription=str(texts[1]),
            delivery=str(texts[2]),
            attempt=numbers[0],
            event=body,
            forced=bool(numbers[1]),
            returns=numbers[2],
            returned=bool(numbers[3]),
        )

    def known(self) -> "Wake":
        """The same without its event: whoever gets it reads the row."""
        return replace(self, event=b"")

    def again(self) -> "Wake":
        """What is sent in its place where it wasn't dealt with to the end."""
        return replace(self, event=b"", returned=True)


class WakeQueue(Protocol):
    """Where they go."""

    async def send(self, wake: Wake, *, when: datetime | None = None) -> None:
        """Return when the queue has taken it, to be shown from `when` on; raises NotSent."""
        ...


class BrokerQueue:
    """The queue on Service Bus."""

    def __init__(self, sender: CoalescingSender) -> None:
        self._sender = sender

    async def send(self, wake: Wake, *, when: datetime | None = None) -> None:
        """See `WakeQueue`."""
        body = wake.event if len(wake.event) <= INLINE_BYTES else b""
        message = broker_message(body, broker_id=None, properties=wake.properties())
        if when is None:
            await self._sender.send(message)
        else:
            await self._sender.schedule(message, when)

    async def close(self) -> None:
        """Close the sender."""
        await self._sender.close()
