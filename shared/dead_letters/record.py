"""What is kept of a message that can't be processed: enough to understand it and to play it again."""

import base64
import hashlib
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["DeadLetter", "stack_fingerprint"]

_LONGEST = {"reason": 8_000, "properties": 16_000}
_LONGEST_OTHER = 1_000
"""Characters of a column: at four bytes each they fit its 64 KiB, and all together the row's 1 MiB."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One dead letter.

    Attributes
    ----------
    identity:
        Unique and the same at every delivery: the message id, or where a message has none, its place in the queue.
    body:
        The message as it came, byte for byte; with a claim it is empty and `properties` name the payload.
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

    def columns(self) -> dict[str, Any]:
        """The row's columns apart from its body."""
        columns = {
            "source": self.source,
            "category": self.category,
            "code": self.code,
            "reason": self.reason,
            "attempts": self.attempts,
            "firstFailure": self.first_failure,
            "lastFailure": self.last_failure,
            "messageId": self.message_id,
            "eventType": self.event_type,
            "key": self.key,
            "correlationId": self.correlation_id,
            "traceparent": self.traceparent,
            "fingerprint": self.fingerprint,
            "properties": json.dumps(dict(self.properties), default=_plain),
            "position": json.dumps(dict(self.position)) if self.position else None,
            "bodySize": len(self.body),
        }
        return {
            name: _fitting(value, _LONGEST.get(name, _LONGEST_OTHER))
            for name, value in columns.items()
            if value is not None
        }


def stack_fingerprint(error: BaseException | None) -> str | None:
    """Sixteen hex digits that are the same for the same failure: its type and where it was raised, not its text."""
    if error is None:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.name}" for frame in frames[-8:]]
    return hashlib.sha256("\n".join([type(error).__qualname__, *places]).encode()).hexdigest()[:16]


def _fitting(value: Any, longest: int) -> Any:
    """Half of a surrogate pair is replaced, so that any text can be kept."""
    if not isinstance(value, str):
        return value
    return value[:longest].encode("utf-8", "replace").decode()


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
