"""Spans and W3C trace context: one trace from the POST to the read model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from .redaction import record_exception, redacted_error, redacted_fields

__all__ = ["current_traceparent", "link_to", "span"]

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("sluice")


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    links: list[Link] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """Open a span as the current one; `parent` is a W3C traceparent that came from outside.

    Attributes and errors are recorded without the protected values of the message at hand.
    """
    context = _PROPAGATOR.extract({"traceparent": parent}) if parent else None
    with _TRACER.start_as_current_span(
        name,
        context=context,
        kind=kind,
        links=links,
        attributes=redacted_fields(attributes) if attributes else None,
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except Exception as error:
            if opened.is_recording():
                with suppress(Exception):  # it may not even be able to say what it is
                    record_exception(opened, error)
                opened.set_status(Status(StatusCode.ERROR, redacted_error(error)))
            raise


def current_traceparent() -> str | None:
    """The W3C traceparent to hand on, or None where nothing is traced."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def link_to(traceparent: object) -> Link | None:
    """A link to the span that made a message: a batch has many makers, so none of them is its parent."""
    if not isinstance(traceparent, str) or not traceparent:
        return None
    context = trace.get_current_span(_PROPAGATOR.extract({"traceparent": traceparent})).get_span_context()
    return Link(context) if context.is_valid else None
