"""What the stages hand on, each as a value that nobody changes, and what may become of a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.messages import Delivery, Failure, Handler, Headers, PayloadHash

from .work import Aggregate, Work

__all__ = ["Dead", "Done", "Duplicate", "Ended", "Fresh", "Handled", "Message", "Outcome", "Parked", "RetryLater"]


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
    """A delivery that was decoded.

    Attributes
    ----------
    payload_hash:
        Of what it says, as the inbox keeps it.
    earlier_hashes:
        The same, as the inbox may have kept it before a key changed.
    """

    delivery: Delivery
    headers: Headers
    handler: Handler
    data: BaseModel
    payload_hash: PayloadHash
    bucket: int
    earlier_hashes: tuple[PayloadHash, ...] = ()

    def has_payload_of(self, row: Mapping[str, Any]) -> bool:
        """Whether an inbox row is about what this message says."""
        return any(one.is_in(row) for one in (self.payload_hash, *self.earlier_hashes))


@dataclass(frozen=True, slots=True)
class Fresh:
    """A message that nobody has dealt with, and what is known of its aggregate."""

    message: Message
    aggregate: Aggregate


@dataclass(frozen=True, slots=True)
class Handled:
    """A message whose handler has returned, what it wants to be committed, and about how many bytes that is."""

    message: Message
    work: Work
    size: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery whose outcome is known, with as much as was learned of it."""

    delivery: Delivery
    outcome: Outcome
    headers: Headers | None = None
    message: Message | None = None
    work: Work | None = None
