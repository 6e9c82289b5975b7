"""What is kept of a message that can't be processed: enough to understand it and to play it again."""

import hashlib
import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from shared.messages import CloudEvent, Delivery, ErrorCode, Failure, Headers, Lane
from shared.telemetry import log_event

__all__ = [
    "DeadLetter",
    "Edit",
    "Note",
    "Outgoing",
    "Status",
    "StoredLetter",
    "content_id",
    "stack_fingerprint",
    "unread_identity",
]

_LANE_SOURCE = "lane:"


class Status(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    """Between the first and the last step of a replay; after a crash the next replay goes on from there."""
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ARCHIVED = "archived"
    """Put away, and to be discarded when its window ends; until then it can be restored."""
    UNKNOWN = "unknown"
    """A later release's, before a rollback: it can be looked at, and its row keeps what it says."""

    @classmethod
    def _missing_(cls, _: object) -> "Status":
        return cls.UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One line of a dead letter's history: who did what, when and why."""

    at: datetime
    action: str
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What operators made of a dead letter's message, which itself stays as it came.

    Attributes
    ----------
    number:
        How many edits there were.
    message:
        Id that the edited message would have as a dead letter of its own; None where the original is meant again.
    properties:
        Where its payload is: those that replace the original's of a claim and of encryption.
    blob, encrypted:
        The body of the edited message with every edit's difference: in a blob, or in the row; encrypted, or not.
    """

    number: int
    message: str | None
    properties: Mapping[str, Any]
    blob: str | None
    encrypted: bool


class Outgoing(NamedTuple):
    """A message as a replay sends it: its body, and its application properties."""

    body: bytes
    properties: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One dead letter on its way into the store.

    Attributes
    ----------
    identity:
        Unique and the same at every delivery: the message id, or where a message has none, its place in the queue.
    body:
        The message as it came, byte for byte; with a claim it is empty and `properties` name the payload.
    source:
        The road it came by: `lane:<lane>` or the name of an event stream.
    position:
        Its place in the queue or log, so that a redelivery is distinguished from a new copy.
    body_kind:
        The AMQP sections that it came in: `data`, or `value` or `sequence`, of which `body` is a readable form.
    """

    identity: str
    body: bytes
    properties: Mapping[str, Any]
    source: str
    category: str
    code: str
    reason: str
    attempts: int
    first_failure: datetime
    last_failure: datetime
    message_id: str | None = None
    event_type: str | None = None
    key: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    fingerprint: str | None = None
    position: Mapping[str, Any] = field(default_factory=dict)
    lane: str | None = None
    body_kind: str = "data"

    @classmethod
    def of(
        cls,
        origin: Delivery,
        about: Headers | CloudEvent | None,
        failure: Failure,
        *,
        identity: str,
        source: str,
        position: Mapping[str, Any],
        now: datetime,
    ) -> Self:
        """The dead letter of whatever failed.

        Parameters
        ----------
        about:
            What could be read of it: a command's headers, or an event.
        """
        if failure.code == ErrorCode.SUBJECT_ERASED:
            origin = origin.erased()
        headers = about if isinstance(about, Headers) else None
        event = about if isinstance(about, CloudEvent) else None
        return cls(
            identity=identity,
            body=origin.body,
            properties=origin.properties,
            source=source,
            category=failure.category.value,
            code=str(failure.code),
            reason=failure.reason,
            attempts=headers.attempt if headers else origin.delivery_count,
            first_failure=headers.first_attempt_at if headers else now,
            last_failure=now,
            message_id=str(headers.message_id) if headers else origin.message_id or None,
            event_type=headers.event_type if headers else event.type if event else None,
            key=headers.key if headers else event.subject if event else None,
            correlation_id=about.correlation_id if about else None,
            traceparent=about.traceparent if about else None,
            fingerprint=stack_fingerprint(failure.error),
            position=position,
        )

    @classmethod
    def of_message(
        cls,
        lane: Lane,
        delivery: Delivery,
        headers: Headers | None,
        failure: Failure,
        *,
        now: datetime,
        identity: str | None = None,
        queue: str = "sequenceNumber",
    ) -> Self:
        """The dead letter of a lane's message; its identity is the same at every delivery.

        Parameters
        ----------
        queue:
            How the position names the queue that the sequence number is of.
        """
        if identity is None and headers is not None:
            identity = str(headers.message_id)
        return cls.of(
            delivery,
            headers,
            failure,
            identity=identity or unread_identity(lane.value, delivery.message_id, delivery.sequence_number),
            source=f"{_LANE_SOURCE}{lane.value}",
            position={queue: delivery.sequence_number},
            now=now,
        )

    def log(self, lane: Lane) -> None:
        """Say that it is stored; operators' queries read this."""
        log_event(
            "dead letter",
            level=logging.ERROR,
            lane=lane.value,
            messageId=self.message_id,
            code=self.code,
            category=self.category,
            reason=self.reason,
        )

    @property
    def id(self) -> str:
        """32 hex digits: two payloads under one identity are two dead letters, one delivered twice is one."""
        return content_id(self.body, self.properties.get("claimSha256"), self.identity)

    @property
    def lane_name(self) -> str | None:
        """The lane it was in, as given or read from its source."""
        if self.lane is None and self.source.startswith(_LANE_SOURCE):
            return self.source.removeprefix(_LANE_SOURCE)
        return self.lane

    @property
    def group(self) -> str:
        """What groups it with others of its kind: the error fingerprint, or without a stack its code."""
        kind = f"{self.category}\0{self.code}".encode("utf-8", "replace")
        return self.fingerprint or hashlib.sha256(kind).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLetter:
    """A dead letter as the store has it; its body is read when it is asked for.

    Attributes
    ----------
    id:
        32 hex digits; what operators name it by.
    claim:
        Blob name of its payload, where the message carried a claim.
    replays:
        How often it was replayed.
    changed_at:
        When its status changed last.
    sealed:
        Its body is encrypted at rest.
    body_kind:
        As in `DeadLetter`.
    edit:
        What operators made of its message; None where nobody edited it.
    archived_until:
        When the window ends in which it can be restored; None unless it is archived.
    etag:
        The version of the row, for a change that must not hit a newer one.
    """

    id: str
    status: Status
    source: str
    category: str
    code: str
    reason: str
    attempts: int
    first_failure: datetime
    last_failure: datetime
    fingerprint: str
    replays: int
    changed_at: datetime
    history: tuple[Note, ...]
    properties: Mapping[str, Any]
    position: Mapping[str, Any]
    body_size: int
    lane: str | None
    message_id: str | None
    event_type: str | None
    key: str | None
    correlation_id: str | None
    trace_id: str | None
    traceparent: str | None
    claim: str | None
    body_blob: str | None
    etag: str | None
    sealed: bool = False
    body_kind: str = "data"
    edit: Edit | None = None
    archived_until: datetime | None = None

    @property
    def edited(self) -> bool:
        """Whether a replay sends another payload than the one that came."""
        return self.edit is not None and self.edit.message is not None


def content_id(body: bytes, claim_sha256: object, identity: str) -> str:
    """32 hex digits that follow from what a message says and which message it is."""
    claim = "" if claim_sha256 is None else str(claim_sha256)
    digest = hashlib.sha256(hashlib.sha256(body).digest() + claim.encode("utf-8", "replace") + b"\0")
    digest.update(identity.encode("utf-8", "replace"))
    return digest.hexdigest()[:32]


def stack_fingerprint(error: BaseException | None) -> str | None:
    """Sixteen hex digits that are the same for the same failure: its type and where it was raised, not its text."""
    if error is None:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.replace(chr(92), '/').rpartition('/')[2]}:{frame.name}" for frame in frames[-8:]]
    return hashlib.sha256("\n".join([type(error).__qualname__, *places]).encode()).hexdigest()[:16]


def unread_identity(lane: str, broker_id: str | None, sequence_number: int) -> str:
    """Identity of a message whose properties can't be read: the broker's id of it, without the number of a replay."""
    name = (broker_id or "").partition("#r")[0]
    return f"{lane}:{name or sequence_number}"
