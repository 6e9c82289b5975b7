"""What a test sees of a handler's run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from shared.messages import CloudEvent, Failure, Lane

__all__ = ["Outcome", "Published", "Retried", "Sent"]


class Published(NamedTuple):
    """An event; equals the plain tuple of the same two."""

    event_type: str
    data: BaseModel


class Sent(NamedTuple):
    """A command to another aggregate; equals the plain tuple of the same two."""

    event_type: str
    data: BaseModel


class Retried(NamedTuple):
    """The handler asked for another try, or its partner can't be called now.

    `after` is in seconds, None where the retry plan shall decide.
    """

    after: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exactly one of `done`, `duplicate`, `invalid`, `retried`, `rejected` and `failed` holds.

    What a message changes and says is kept only when it is done, so everything else leaves `saved`, `deleted`,
    `published` and `sent` empty; `Partial` alone, a kind of `retried`, keeps what was saved and deleted.

    Attributes
    ----------
    key, lane:
        The aggregate that the message belongs to, and the lane it would have waited in.
    saved:
        (kind, key) → the model saved last.
    events:
        What was published, as the CloudEvents that leave the app.
    counted:
        Names of counters, with amounts and attributes.
    invalid:
        The `error` of the API's answer: code, message, details. The handler wasn't called.
    rejected:
        The reason of a `Reject`.
    failed:
        Any other exception, sorted by the app's failure matrix; `failed.error` is the exception,
        `failed.retryable` says whether the message would be tried again.
    """

    message_id: UUID
    key: str = ""
    lane: Lane | None = None
    saved: Mapping[tuple[str, str], BaseModel] = field(default_factory=dict)
    deleted: tuple[tuple[str, str], ...] = ()
    published: tuple[Published, ...] = ()
    sent: tuple[Sent, ...] = ()
    events: tuple[CloudEvent, ...] = field(default=(), repr=False)
    counted: tuple[tuple[str, float, Mapping[str, str]], ...] = ()
    duplicate: bool = False
    invalid: Mapping[str, Any] | None = None
    retried: Retried | None = None
    rejected: str | None = None
    failed: Failure | None = None

    @property
    def done(self) -> bool:
        """The handler returned and its effects are kept."""
        undone = (self.invalid, self.retried, self.rejected, self.failed)
        return not self.duplicate and all(reason is None for reason in undone)
