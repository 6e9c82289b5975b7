"""Telemetry: spans, trace context, metrics and structured logs."""

from .conventions import Name, messaging
from .logs import log_event
from .metrics import Instrument, Metrics
from .redaction import hide, hiding, record_exception, redact, redacted_error
from .setup import configure
from .span_store import Found, SpanStore, StoredSpan
from .spans import RecordedSpan
from .tracing import (
    TRACING,
    begin,
    current_traceparent,
    invoked_by,
    keep_trace,
    link_to,
    span,
)

__all__ = [
    "TRACING",
    "Found",
    "Instrument",
    "Metrics",
    "Name",
    "RecordedSpan",
    "SpanStore",
    "StoredSpan",
    "begin",
    "configure",
    "current_traceparent",
    "hide",
    "hiding",
    "invoked_by",
    "keep_trace",
    "link_to",
    "log_event",
    "messaging",
    "record_exception",
    "redact",
    "redacted_error",
    "span",
]
