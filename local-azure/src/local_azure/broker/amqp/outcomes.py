"""Delivery states (messaging part 3.4, transactions part 4.5), and the errors that they and frames carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.errors import AmqpError
from local_azure.broker.amqp.types import Described, Raw, ULong

__all__ = [
    "ACCEPTED",
    "RELEASED",
    "Outcome",
    "encode_error",
    "rejected",
    "transaction_of",
    "transactional",
]

_TRANSACTIONAL: Final = (0x34, "amqp:transactional-state:list")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A delivery state by its descriptor: 0x24 accepted, 0x25 rejected, 0x26 released, 0x27 modified.

    `transaction` is the id of the transaction that the outcome belongs to, if any (4.4.4).
    """

    code: int
    fields: tuple[Any, ...] = ()
    transaction: bytes | None = None

    @classmethod
    def parse(cls, state: Any) -> Outcome | None:
        """Outcome from a decoded delivery state; None for no state, `received` and unknown ones."""
        transaction = transaction_of(state)
        if transaction is not None:
            state = state.value[1] if len(state.value) > 1 else None
        if not isinstance(state, Described) or not isinstance(state.value, list):
            return None
        code = _OUTCOME_NAMES.get(state.descriptor, state.descriptor)
        if code not in (0x24, 0x25, 0x26, 0x27):
            return None
        return cls(code, tuple(state.value), transaction)


def transaction_of(state: Any) -> bytes | None:
    """The id of the transaction that a delivery state belongs to (4.5.8)."""
    if isinstance(state, Described) and state.descriptor in _TRANSACTIONAL and isinstance(state.value, list):
        identity = state.value[0] if state.value else None
        return identity if isinstance(identity, bytes) else b""
    return None


def transactional(identity: bytes, outcome: bytes) -> Raw:
    """A transactional state with an encoded outcome."""
    return Raw(encode(Described(ULong(0x34), [identity, Raw(outcome)])))


_OUTCOME_NAMES: Final = {
    f"amqp:{name}:list": code
    for code, name in ((0x24, "accepted"), (0x25, "rejected"), (0x26, "released"), (0x27, "modified"))
}

ACCEPTED: Final = Raw(b"\x00\x53\x24\x45")
RELEASED: Final = Raw(b"\x00\x53\x26\x45")


def encode_error(error: AmqpError | None) -> Raw | None:
    """The `error` of a detach, end, close or rejected (2.8.14)."""
    if error is None:
        return None
    return Raw(encode(Described(ULong(0x1D), [error.condition, error.description, None])))


def rejected(error: AmqpError | None) -> Raw:
    """A rejected outcome; without an error it confirms that the message was dead-lettered."""
    return Raw(encode(Described(ULong(0x25), [encode_error(error)])))
