"""A message on its way through a batch, and what may become of it."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.messages import Handler, Headers
from shared.state import Aggregate, Work

from .failures import Failure

__all__ = ["Dead", "Delivery", "Done", "Duplicate", "Item", "Message", "Outcome", "Parked", "RetryLater"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message as a trigger hands it over."""

    body: bytes
    properties: dict[str, Any]
    message_id: str
    sequence_number: int
    delivery_count: int


@dataclass(frozen=True, slots=True)
class Done:
    """Its effects are committed."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It was dealt with before; nothing was done."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A delayed copy takes its place.

    Attributes
    ----------
    seconds:
        Delay of the copy.
    counts:
        Whether this was an attempt; a message that was never tried keeps its number.
    """

    seconds: float
    failure: Failure
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Dead:
    """It goes to the dead-letter store."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Parked:
    """It waits behind an earlier message of its key."""


Outcome = Done | Duplicate | RetryLater | Dead | Parked


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A delivery that could be read.

    Attributes
    ----------
    fingerprint:
        Of what it says, as the inbox keeps it.
    earlier_fingerprints:
        The same, as the inbox may have kept it before a key changed.
    """

    headers: Headers
    handler: Handler
    data: BaseModel
    fingerprint: str
    bucket: int
    earlier_fingerprints: tuple[str, ...] = ()

    def has_fingerprint(self, known: str) -> bool:
        """Whether the inbox has kept this of what it says."""
        return known == self.fingerprint or known in self.earlier_fingerprints


@dataclass(slots=True)
class Item:
    """A delivery, what was read from it, and its outcome once that is known.

    Attributes
    ----------
    holds_key:
        Whether its key is blocked until this very message is done.
    """

    delivery: Delivery
    headers: Headers | None = None
    message: Message | None = None
    aggregate: Aggregate | None = None
    work: Work | None = None
    outcome: Outcome | None = None
    holds_key: bool = False

    @property
    def read(self) -> Message:
        """The message; only to be asked of an item that is still open after decoding."""
        if self.message is None:
            raise LookupError("the delivery could not be read")
        return self.message
