"""What a blob of Event Grid's dead letters says. No I/O.

Source: learn.microsoft.com, "Event Grid message delivery and retry", dead-letter events: an array of events, each with
why it wasn't delivered among its own fields, in lower case for CloudEvents.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.messages import Category, ErrorCode, MessageError, parse_rfc3339, parse_strict, write_json

__all__ = ["Undelivered", "read_blob"]

_ADDED = ("deadLetterReason", "deliveryAttempts", "lastDeliveryOutcome", "publishTime", "lastDeliveryAttemptTime")
_LONGEST = 256
_CODES: Mapping[str, tuple[Category, ErrorCode]] = {
    "MaxDeliveryAttemptsExceeded": (Category.TRANSIENT, ErrorCode.MAX_DELIVERIES_EXCEEDED),
    "TimeToLiveExceeded": (Category.EXPIRED, ErrorCode.MESSAGE_EXPIRED),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Undelivered:
    """An event as it was published, and why it wasn't delivered.

    Attributes
    ----------
    identity:
        The same wherever the event comes again: its source or topic, and its id.
    published:
        None where the blob doesn't say.
    text:
        The event in JSON; empty where it can't be written.
    unreadable:
        Why the app doesn't read it, though the blob could be.
    """

    event: Mapping[str, Any]
    identity: str
    type: str
    subject: str
    reason: str
    outcome: str
    attempts: int
    published: datetime | None
    text: str = ""
    unreadable: str = ""

    @property
    def category(self) -> Category:
        """Why it isn't there, in the words of dead letters."""
        return (
            Category.INVALID
            if self.unreadable
            else _CODES.get(self.reason, (Category.PERMANENT, ErrorCode.DEAD_LETTERED))[0]
        )

    @property
    def code(self) -> ErrorCode:
        """The same as a code."""
        return (
            ErrorCode.MALFORMED_JSON
            if self.unreadable
            else _CODES.get(self.reason, (Category.PERMANENT, ErrorCode.DEAD_LETTERED))[1]
        )


def read_blob(content: bytes) -> list[Undelivered]:
    """The events of a blob.

    Raises
    ------
    ValueError
        It is none of Event Grid's.
    """
    try:
        found = json.loads(content, parse_float=Decimal, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    events = found if isinstance(found, list) else [found]
    if not events or not all(isinstance(one, dict) for one in events):
        raise ValueError("it is no array of events")
    return [_undelivered(one) for one in events]


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _LONGEST else Decimal(digits)


def _strict(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, str]:
    """An event as the app reads JSON, its text, and why the app doesn't: others of its blob are none the worse."""
    try:
        text = write_json(dict(event))
    except RecursionError:
        return event, "", "The event is nested too deeply."
    try:
        return parse_strict(text.encode()), text, ""
    except MessageError as error:
        return event, text, error.message
    except UnicodeEncodeError:
        return event, text, "The event has half of a surrogate pair."


def _undelivered(content: Mapping[str, Any]) -> Undelivered:
    cloud = "specversion" in content
    added = {name: content.get(name.lower() if cloud else name) for name in _ADDED}
    own = {name.lower() if cloud else name for name in _ADDED}
    attempts = added["deliveryAttempts"]
    event, text, unreadable = _strict({name: value for name, value in content.items() if name not in own})
    return Undelivered(
        event=event,
        text=text,
        unreadable=unreadable,
        identity=f"{_text(content, 'source' if cloud else 'topic')} {_text(content, 'id')}",
        type=_text(content, "type" if cloud else "eventType"),
        subject=_text(content, "subject"),
        reason=_text(added, "deadLetterReason"),
        outcome=_text(added, "lastDeliveryOutcome"),
        attempts=attempts if type(attempts) is int and 0 <= attempts < 2**31 else 0,
        published=_time(added["publishTime"]),
    )


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    return value[:_LONGEST] if isinstance(value, str) else ""


def _time(value: object) -> datetime | None:
    try:
        return parse_rfc3339(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
