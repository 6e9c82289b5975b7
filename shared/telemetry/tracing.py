"""Spans and W3C trace context: one trace from the POST to the read model.

Who is sampled is decided once, where a trace begins, by its id; messages carry the decision in the flag of their
traceparent. What ends badly is kept whatever the decision was, and carries the flag from then on.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from .redaction import record_exception, redacted_error
from .spans import Journey, RecordedSpan, Sink

__all__ = [
    "TRACING",
    "Tracing",
    "begin",
    "current_traceparent",
    "invoked_by",
    "keep_trace",
    "link_to",
    "span",
]

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
LONGEST = 512
_RATIO_BITS = (1 << 64) - 1
_NONE: Mapping[str, AttributeValue] = {}
_INVOCATION: ContextVar[SpanContext | None] = ContextVar("invocation", default=None)


class Tracing:
    """What this process does with spans; nothing until it knows where they go."""

    def __init__(self) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self.slow_seconds = float("inf")
        self._bound = _RATIO_BITS

    def start(self, *sinks: Sink, ratio: float = 1.0, slow_seconds: float = float("inf")) -> None:
        """Record from now on.

        Parameters
        ----------
        ratio:
            The share of traces that are exported however they end.
        slow_seconds:
            A message that takes longer from its acceptance to its end is exported too.
        """
        self.sinks = sinks
        self.slow_seconds = slow_seconds
        self._bound = round(ratio * _RATIO_BITS)

    def stop(self, seconds: float = 5.0) -> None:
        """Record no longer, and return when what was recorded has arrived, or that long has passed."""
        sinks, self.sinks = self.sinks, ()
        for sink in sinks:
            sink.close(seconds)

    def chooses(self, trace_id: int) -> bool:
        """Whether a trace is sampled; every process of one ratio answers the same."""
        return (trace_id & _RATIO_BITS) <= self._bound and self._bound > 0

    def journey(self, *, sampled: bool) -> Journey:
        """The beginning of one."""
        return Journey(self.sinks, sampled=sampled)


TRACING = Tracing()
"""The process's own."""


class span:  # noqa: N801 - a context manager, named for what it opens
    """Open a span as the current one.

    Attributes and errors are recorded without the protected values of the message at hand; an error makes the whole
    journey be exported. Where nothing is traced it costs next to nothing, and hands `parent` on.

    Parameters
    ----------
    parent:
        A span, or a W3C traceparent that came from outside; without one, the span that is current. For a request
        (`SpanKind.SERVER`) its sampled flag counts for nothing: whoever calls may set it.
    plain:
        Attributes that are the app's own words, or that stand in clear anyway: taken as they are.
    """

    __slots__ = ("_attributes", "_current", "_kind", "_links", "_name", "_parent", "_plain", "_token")

    def __init__(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: str | Span | None = None,
        links: Sequence[Link] | None = None,
        attributes: Mapping[str, Any] | None = None,
        plain: Mapping[str, AttributeValue] = _NONE,
    ) -> None:
        self._name = name
        self._kind = kind
        self._parent = parent
        self._links = links
        self._attributes = attributes
        self._plain = plain
        self._current: Span
        self._token: Token[contexts.Context] | None = None

    def __enter__(self) -> Span:
        if TRACING.sinks:
            self._current = begin(
                self._name,
                kind=self._kind,
                parent=self._parent,
                links=self._links,
                attributes=self._attributes,
                plain=self._plain,
            )
            self._token = contexts.attach(trace.set_span_in_context(self._current))
            return self._current
        above = _parsed(self._parent) if isinstance(self._parent, str) else None
        if above is None:
            self._current = trace.INVALID_SPAN
        else:
            self._current = NonRecordingSpan(above)
            self._token = contexts.attach(trace.set_span_in_context(self._current))
        return self._current

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        current = self._current
        if isinstance(current, RecordedSpan):
            if error is not None and isinstance(error, Exception):
                with suppress(Exception):  # it may not even be able to say what it is
                    record_exception(current, error)
                current.set_status(Status(StatusCode.ERROR, redacted_error(error)))
            current.end()
        if self._token is not None:
            contexts.detach(self._token)


def begin(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | Span | None = None,
    links: Sequence[Link] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    plain: Mapping[str, AttributeValue] = _NONE,
    started_at: int | None = None,
) -> RecordedSpan:
    """A span that isn't the current one; whoever begins it ends it. Call only where something is traced."""
    above: Span | SpanContext | None = None
    if isinstance(parent, str):
        above = _parsed(parent)
    elif isinstance(parent, RecordedSpan):
        above = parent
    elif isinstance(current := trace.get_current_span(), RecordedSpan):
        above = current
    else:
        context = current.get_span_context()
        above = context if context.is_valid else None
    if (hosting := _INVOCATION.get()) is not None and (kind is SpanKind.SERVER or above is None):
        above = hosting  # the host has recorded the request, and goes on with the caller's trace
        kind = SpanKind.INTERNAL if kind is SpanKind.SERVER else kind
    if isinstance(above, RecordedSpan):
        journey, trace_id, parent_id = above.journey, above.trace_id, above.span_id
    elif above is None:
        trace_id, parent_id = random.getrandbits(128) or 1, 0
        journey = TRACING.journey(sampled=TRACING.chooses(trace_id))
    else:
        trace_id, parent_id = above.trace_id, above.span_id
        trusted = kind is not SpanKind.SERVER and above is not hosting
        sampled = (trusted and above.trace_flags.sampled) or TRACING.chooses(trace_id)
        journey = TRACING.journey(sampled=sampled)
    return RecordedSpan(
        name,
        journey,
        trace_id=trace_id,
        span_id=random.getrandbits(64) or 1,
        parent_id=parent_id,
        kind=kind,
        links=tuple(links or ()),
        attributes=attributes,
        plain=plain,
        started_at=started_at,
    )


def keep_trace() -> None:
    """Have what is traced now exported, whatever the ratio says: it ends badly, or late."""
    if isinstance(current := trace.get_current_span(), RecordedSpan):
        current.journey.keep()


def current_traceparent(of: Span | None = None) -> str | None:
    """The W3C traceparent to hand on, of the span that is current or of another; None where nothing is traced."""
    current = trace.get_current_span() if of is None else of
    if isinstance(current, RecordedSpan):
        return f"00-{current.trace_id:032x}-{current.span_id:016x}-{'01' if current.journey.sampled else '00'}"
    context = current.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def link_to(traceparent: object) -> Link | None:
    """A link to the span that made a message: a batch has many makers, so none of them is its parent."""
    context = _parsed(traceparent) if isinstance(traceparent, str) else None
    return None if context is None else Link(context)


@contextmanager
def invoked_by(traceparent: object) -> Iterator[None]:
    """Meanwhile, the host's own span of an invocation, as its trace context says, is the parent of what begins here."""
    token = _INVOCATION.set(_parsed(traceparent) if isinstance(traceparent, str) else None)
    try:
        yield
    finally:
        _INVOCATION.reset(token)


def _parsed(traceparent: str) -> SpanContext | None:
    """What a traceparent says (W3C Trace Context, level 2); None of one that is wrong."""
    found = _TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= LONGEST else None
    if found is None or (traceparent[:2] == "00" and len(traceparent) != 55):
        return None
    flags = TraceFlags(int(found[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
