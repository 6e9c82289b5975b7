"""A message that the broker gave up by itself, as values: what was read of it, and how it goes back to its lane."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.messages import Delivery
from shared.sending import BrokerMessage, broker_message

__all__ = ["MAX_RETURNS", "RETURNS", "BodyKind", "GivenUp", "Place", "readable"]

RETURNS = "returns"
"""The application property that counts how often a message went back to its lane from the dead-letter queue."""
MAX_RETURNS = 3
REASON = "DeadLetterReason"
DESCRIPTION = "DeadLetterErrorDescription"
_DEEPEST = 64


class BodyKind(StrEnum):
    """The sections that a message's body is of (AMQP 1.0, 3.2.6 to 3.2.8)."""

    DATA = "data"
    VALUE = "value"
    """Such as a JMS text or map. No binding that asks for bytes takes it: its batch fails before the app is called."""
    SEQUENCE = "sequence"


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenUp:
    """One message of a dead-letter queue.

    Attributes
    ----------
    delivery:
        Its body as it came where that is data, else in a form that can be read.
    more:
        Broker properties that a copy of it keeps, by their names in the SDK.
    """

    delivery: Delivery
    kind: BodyKind = BodyKind.DATA
    session_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why the broker gave it up."""
        return str(self.delivery.properties.get(REASON) or "")

    @property
    def description(self) -> str:
        """More of the reason."""
        return str(self.delivery.properties.get(DESCRIPTION) or "")

    @property
    def returns(self) -> int:
        """How often it went back to its lane; a count that isn't ours ends that."""
        found = self.delivery.properties.get(RETURNS, 0)
        return found if isinstance(found, int) and found >= 0 else MAX_RETURNS

    @property
    def properties(self) -> dict[str, Any]:
        """The application properties without what the broker and this room added."""
        added = (REASON, DESCRIPTION, RETURNS)
        return {name: value for name, value in self.delivery.properties.items() if name not in added}

    def again(self) -> BrokerMessage:
        """The message as it goes back to its lane."""
        made = broker_message(
            self.delivery.body,
            broker_id=self.delivery.message_id or None,
            properties={**self.properties, RETURNS: self.returns + 1},
            session_id=self.session_id,
        )
        for name, value in self.more.items():
            setattr(made, name, value)
        return made


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message lies in a dead-letter queue, and whose it is as far as that can be read."""

    sequence_number: int
    session_id: str | None
    key: str | None


def readable(value: Any) -> bytes:
    """A body that isn't data as text: a text as it is, else as JSON; binary that is no text as base64."""
    plain = _plain(value, 0)
    return (plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)).encode("utf-8", "replace")


def _plain(value: Any, depth: int) -> Any:
    """The SDK hands over texts and binary alike as bytes."""
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"$base64": base64.b64encode(value).decode()}
        case bool() | int() | float() | str() | None:
            return value
        case Mapping() if depth < _DEEPEST:
            return {str(_plain(name, depth + 1)): _plain(one, depth + 1) for name, one in value.items()}
        case Sequence() if depth < _DEEPEST:
            return [_plain(one, depth + 1) for one in value]
        case _:
            return str(value)
