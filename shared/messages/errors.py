"""The one list of error codes, and the exceptions that carry them.

Exception
├── Reject            a handler refuses a message for good (a business refusal)
├── Retry             a handler asks for another try later
│   └── Partial           a part is done, the rest should be tried again
├── Postpone          it can't be tried now: it comes again later, and no attempt is counted
└── MessageError      a message can't be taken or processed as it is; has a code and details
    ├── MalformedJson     the bytes are not strict JSON
    ├── InvalidMessage    the envelope or its data breaks the contract
    ├── UnknownEventType  no integration handles that event type
    └── UnknownVersion    the event type is known, that version isn't
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

__all__ = [
    "Category",
    "ErrorCode",
    "Failure",
    "InvalidMessage",
    "MalformedJson",
    "MessageError",
    "Partial",
    "Postpone",
    "Reject",
    "Retry",
    "UnknownEventType",
    "UnknownVersion",
]


class ErrorCode(StrEnum):
    """Every code that an answer, a dead letter or a log line may carry."""

    MALFORMED_JSON = "MALFORMED_JSON"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    UNKNOWN_EVENT_TYPE = "UNKNOWN_EVENT_TYPE"
    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    INCOMPLETE_BODY = "INCOMPLETE_BODY"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    BAD_REQUEST = "BAD_REQUEST"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    MESSAGE_ID_CONFLICT = "MESSAGE_ID_CONFLICT"
    CLAIM_MISSING = "CLAIM_MISSING"
    CLAIM_CHANGED = "CLAIM_CHANGED"
    UNREADABLE = "UNREADABLE"
    NOT_SEALED = "NOT_SEALED"
    SUBJECT_ERASED = "SUBJECT_ERASED"
    REJECTED = "REJECTED"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    HANDLER_ERROR = "HANDLER_ERROR"
    STATE_TOO_LARGE = "STATE_TOO_LARGE"
    PROJECTION_ERROR = "PROJECTION_ERROR"
    MAX_DELIVERIES_EXCEEDED = "MAX_DELIVERIES_EXCEEDED"
    WORKER_LOST = "WORKER_LOST"
    MESSAGE_EXPIRED = "MESSAGE_EXPIRED"
    DEAD_LETTERED = "DEAD_LETTERED"


class Reject(Exception):
    """Raise in a handler to refuse the message for good: it becomes a dead letter with this reason."""

    def __init__(self, reason: str, *, code: str = ErrorCode.REJECTED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Retry(Exception):
    """Raise in a handler to have the message processed again later.

    Parameters
    ----------
    after:
        Seconds (or a timedelta) to wait; None leaves the delay to the retry plan.
    reason:
        Why, for the log and, should attempts run out, the dead letter.
    """

    def __init__(self, reason: str = "the handler asked for another try", *, after: float | timedelta | None = None):
        super().__init__(reason)
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not 0 <= seconds <= 7 * 86_400:
            raise ValueError(f"Retry(after={after!r}): must be between 0 seconds and 7 days")
        self.reason = reason
        self.after = seconds


class Partial(Retry):
    """Raise in a handler when a part is done: what it saved so far is kept, and the message comes again for the rest.

    What it published or sent is not emitted yet; only the run that ends well emits it.
    """


class Postpone(Exception):
    """What a handler needs isn't to be had now: the message comes again later, and this was no attempt.

    Parameters
    ----------
    after:
        Seconds to wait.
    """

    def __init__(self, reason: str, *, after: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class MessageError(Exception):
    """A message breaks its contract; another try with the same bytes can't help."""

    code = ErrorCode.VALIDATION_ERROR

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})


class MalformedJson(MessageError):
    """The bytes are not strict JSON (RFC 8259 with unique names, finite numbers and bounded nesting)."""

    code = ErrorCode.MALFORMED_JSON


class InvalidMessage(MessageError):
    """The envelope or its data breaks the model; `details["errors"]` names each field."""

    code = ErrorCode.VALIDATION_ERROR


class UnknownEventType(MessageError):
    """No integration handles that event type."""

    code = ErrorCode.UNKNOWN_EVENT_TYPE


class UnknownVersion(MessageError):
    """The event type is known, but not in that version."""

    code = ErrorCode.UNKNOWN_VERSION


class Category(StrEnum):
    """What kind of failure it was."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    PARTIAL = "partial"
    PERMANENT = "permanent"
    BUSINESS = "business"
    INVALID = "invalid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified failure.

    Attributes
    ----------
    after:
        Seconds to wait before the next try, where the handler or the other side asked for it.
    """

    category: Category
    code: str
    reason: str
    error: BaseException | None = None
    after: float | None = None

    @property
    def retryable(self) -> bool:
        """Another try with the same message may succeed."""
        return self.category in (Category.TRANSIENT, Category.THROTTLED, Category.PARTIAL)
