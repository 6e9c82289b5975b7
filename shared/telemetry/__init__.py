"""Telemetry: spans, trace context, metrics and structured logs."""

from .business import BusinessCounter, business_counter
from .connections import watch_connections
from .conventions import Name, messaging
from .instruments import Counter, Instrument
from .logs import log_event
from .metrics import Metrics
from .prometheus import CONTENT_TYPE, exposition
from .redaction import hide, hiding, record_exception, redact, redacted_error
from .setup import configure
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
    "CONTENT_TYPE",
    "TRACING",
    "BusinessCounter",
    "Counter",
    "Instrument",
    "Metrics",
    "Name",
    "RecordedSpan",
    "begin",
    "business_counter",
    "configure",
    "current_traceparent",
    "exposition",
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
    "watch_connections",
]
