"""Telemetry: spans, trace context, metrics and structured logs."""

from .logs import log_event
from .metrics import Instrument, Metrics
from .redaction import hide, hiding, record_exception, redact, redacted_error
from .setup import configure
from .tracing import current_traceparent, link_to, span

__all__ = [
    "Instrument",
    "Metrics",
    "configure",
    "current_traceparent",
    "hide",
    "hiding",
    "link_to",
    "log_event",
    "record_exception",
    "redact",
    "redacted_error",
    "span",
]
