"""Telemetry: spans, trace context and structured logs."""

from .logs import log_event
from .setup import configure
from .tracing import current_traceparent, link_to, span

__all__ = ["configure", "current_traceparent", "link_to", "log_event", "span"]
