"""A span as it is recorded, and the journey it belongs to: what one process sees of one message or request.

Recorded here and not by the SDK, since every message has spans and the SDK's cost 26 µs each: these cost a fifth, need
nothing imported, and those of a journey that isn't sampled wait until it is known whether it ends well.
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from .redaction import redacted_fields

__all__ = ["EXCEPTION", "Event", "Journey", "RecordedSpan", "Sink"]

EXCEPTION = "exception"
LONGEST_TEXT, LONGEST_STACK = 1_024, 8_192
"""Characters of an attribute, and of a stack."""
MOST_ATTRIBUTES, MOST_EVENTS, MOST_LINKS, MOST_WAITING = 64, 16, 256, 128
"""What a span holds at most, and how many spans of a journey wait for its outcome."""
_NONE: dict[str, AttributeValue] = {}
_SAMPLED, _UNSAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)

Event = tuple[str, int, Mapping[str, AttributeValue]]
"""Name, nanoseconds since 1970, attributes."""


class Sink(Protocol):
    """Where ended spans go."""

    def take(self, span: "RecordedSpan") -> None:
        """Keep an ended span; returns at once and never raises."""

    def close(self, seconds: float) -> None:
        """Return when what was taken is where it goes, or that long has passed."""


class Journey:
    """The spans of one message or request in this process: exported at once, or only if it ends badly.

    Attributes
    ----------
    message:
        The id of the message that it is about, where it is one.
    """

    __slots__ = ("_sinks", "_waiting", "message", "sampled")

    def __init__(self, sinks: Sequence[Sink], *, sampled: bool) -> None:
        self._sinks = sinks
        self._waiting: list[RecordedSpan] = []
        self.sampled = sampled
        self.message = ""

    def take(self, span: "RecordedSpan") -> None:
        """Export an ended span, or have it wait; of a journey of very many those that end last are lost."""
        if self.sampled:
            for sink in self._sinks:
                sink.take(span)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(span)

    def keep(self) -> None:
        """Export it from now on, with what waited."""
        if not self.sampled:
            self.sampled = True
            waiting, self._waiting = self._waiting, []
            for span in waiting:
                self.take(span)


class RecordedSpan(Span):
    """A span under way, or ended; attributes are redacted as they are set."""

    __slots__ = (
        "attributes",
        "ended_at",
        "events",
        "journey",
        "kind",
        "links",
        "name",
        "parent_id",
        "problem",
        "span_id",
        "started_at",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        journey: Journey,
        *,
        trace_id: int,
        span_id: int,
        parent_id: int,
        kind: SpanKind,
        links: Sequence[Link] = (),
        attributes: Mapping[str, Any] | None = None,
        plain: Mapping[str, AttributeValue] = _NONE,
        started_at: int | None = None,
    ) -> None:
        self.name = name
        self.journey = journey
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.kind = kind
        self.links = links[:MOST_LINKS]
        self.attributes: dict[str, AttributeValue] = dict(plain)
        if attributes:
            self.attributes.update(bounded(redacted_fields(attributes)))
        self.events: list[Event] = []
        self.problem: str | None = None
        self.started_at = time.time_ns() if started_at is None else started_at
        self.ended_at = 0

    @property
    def sampled(self) -> bool:
        """Whether it is exported when it ends."""
        return self.journey.sampled

    def get_span_context(self) -> SpanContext:
        """Its place in the trace."""
        flags = _SAMPLED if self.journey.sampled else _UNSAMPLED
        return SpanContext(self.trace_id, self.span_id, is_remote=False, trace_flags=flags)

    def is_recording(self) -> bool:
        """Whether it is under way."""
        return not self.ended_at

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Say something of it, without the protected values of the message at hand."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Say more of it."""
        if not self.ended_at and len(self.attributes) < MOST_ATTRIBUTES:
            self.attributes.update(bounded(redacted_fields(attributes)))

    def add_event(
        self, name: str, attributes: Mapping[str, AttributeValue] | None = None, timestamp: int | None = None
    ) -> None:
        """Note what happens in it."""
        if not self.ended_at and len(self.events) < MOST_EVENTS:
            given = bounded(redacted_fields(attributes)) if attributes else _NONE
            self.events.append((name, time.time_ns() if timestamp is None else timestamp, given))

    def add_link(self, context: SpanContext, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Point to another span."""
        if len(self.links) < MOST_LINKS:
            self.links = (*self.links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say that it failed; its journey is exported then."""
        code = status.status_code if isinstance(status, Status) else status
        if code is StatusCode.ERROR:
            text = status.description if isinstance(status, Status) else description
            self.problem = (text or "")[:LONGEST_TEXT]

    def fail(self, reason: str) -> None:
        """It failed, for a reason that is redacted already; its journey is exported then."""
        self.problem = reason[:LONGEST_TEXT]

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, AttributeValue] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an error; what `attributes` says of it counts."""
        kind = type(exception)
        given = dict(attributes or {})
        given.setdefault("exception.type", f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
        if "exception.message" not in given:
            given["exception.message"] = str(exception)
        if "exception.stacktrace" not in given:
            given["exception.stacktrace"] = "".join(traceback.format_exception(exception))
        self.add_event(EXCEPTION, given, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """It is over, once."""
        if self.ended_at:
            return
        self.ended_at = max(time.time_ns() if end_time is None else end_time, self.started_at)
        if self.problem is not None:
            self.journey.keep()
        self.journey.take(self)


def bounded(attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The attributes, each of a length that every store takes."""
    return {
        name: value if isinstance(value, int | float) else _short(name, value)
        for name, value in attributes.items()
        if value is not None
    }


def _short(name: str, value: Any) -> AttributeValue:
    if isinstance(value, str):
        longest = LONGEST_STACK if name == "exception.stacktrace" else LONGEST_TEXT
        return value if len(value) <= longest else value[: longest - 1] + "…"
    if isinstance(value, Sequence):
        return [str(one)[:LONGEST_TEXT] for one in value[:MOST_ATTRIBUTES]]
    return str(value)[:LONGEST_TEXT]
