"""Telemetry: spans, trace context and structured logs."""

from .logs import log_event
from .redaction import hide, hiding, record_exception, redact, redacted_error
from .setup import configure
from .tracing import current_traceparent, link_to, span

__all__ = [
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
