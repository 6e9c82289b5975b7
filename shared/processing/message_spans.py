"""The span of each message's processing, from its delivery to its outcome, in the trace that its sender began.

A later attempt, a replay and deferred work are children of the first attempt, and linked to it. What ends badly or late
is kept whatever the ratio says, and what follows from it carries the flag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from opentelemetry.trace import Link, SpanKind

from shared.messages import Delivery, Headers, Lane
from shared.telemetry import TRACING, Name, begin, current_traceparent, keep_trace, link_to, messaging
from shared.work import Dead, Done, Duplicate, Ended, Handled, Message, Parked, RetryLater

__all__ = ["about", "begun", "ended", "onward", "read"]

_OUTCOMES: Final[Mapping[type, str]] = {Done: "done", Duplicate: "duplicate", Dead: "dead", Parked: "parked"}


def begun(lane: Lane, delivery: Delivery) -> Delivery:
    """The delivery with its span."""
    parent = delivery.properties.get("traceparent")
    span = begin(
        _NAMES[lane],
        kind=SpanKind.CONSUMER,
        parent=parent if isinstance(parent, str) else "",
        plain=_ATTRIBUTES[lane],
    )
    return replace(delivery, span=span)


def read(delivery: Delivery, decoded: Message | Ended) -> None:
    """Say of its span what was read of the message."""
    span, headers = delivery.span, decoded.headers
    if span is None or headers is None:
        return
    attributes: dict[str, Any] = {
        Name.MESSAGE_ID: str(headers.message_id),
        Name.CONVERSATION_ID: headers.correlation_id,
        Name.KEY: headers.key,
        Name.EVENT_TYPE: headers.event_type,
        Name.ATTEMPT: headers.attempt,
    }
    if delivery.delivery_count > 1:
        attributes[Name.DELIVERY_COUNT] = delivery.delivery_count
    if headers.replay:
        attributes[Name.REPLAY] = headers.replay
    if headers.claim_size is not None:
        attributes[Name.CLAIM_SIZE] = headers.claim_size
    if _is_later(headers) and (first := link_to(headers.traceparent)) is not None:
        span.add_link(first.context, {"sluice.link": "first attempt"})
    span.journey.message = str(headers.message_id)
    span.attributes.update(attributes)  # which stand in clear in the message's properties, none of them long


def about(several: Sequence[Ended] | Sequence[Handled]) -> dict[str, Any]:
    """Whose span is about these: one message's is its child; of several it is linked to each."""
    spans = [one.delivery.span if isinstance(one, Ended) else one.message.delivery.span for one in several]
    if len(spans) == 1:
        return {"parent": spans[0]}
    sampled = [one for one in spans if one is not None and one.sampled]  # nobody finds the others
    if sampled:
        keep_trace()
    return {"links": [Link(one.get_span_context()) for one in sampled]}


def onward(ended: Ended, headers: Headers, *, keep: bool = True) -> Headers:
    """The headers of what follows from an attempt: its first one is the parent of all later ones."""
    span = ended.delivery.span
    if span is None:
        return headers
    if keep:
        span.journey.keep()
    is_later = headers.traceparent is not None and (ended.headers is None or _is_later(ended.headers))
    traceparent = headers.traceparent if is_later else current_traceparent(span)
    if traceparent is not None and span.journey.sampled:
        traceparent = f"{traceparent[:53]}01"
    return replace(headers, traceparent=traceparent)


def _is_later(headers: Headers) -> bool:
    return headers.attempt > 1 or headers.replay > 0 or headers.accepted_at is not None


def ended(one: Ended, *, now: datetime) -> None:
    """End the span of a message with its outcome."""
    span = one.delivery.span
    if span is None:
        return
    outcome = one.outcome
    if isinstance(outcome, RetryLater):
        says: dict[str, Any] = {
            Name.OUTCOME: "retry" if outcome.counts else "deferred",
            Name.RETRY_SECONDS: outcome.seconds,
        }
    else:
        says = {Name.OUTCOME: _OUTCOMES[type(outcome)]}
    if isinstance(outcome, RetryLater | Dead):
        says |= {Name.CATEGORY: outcome.failure.category.value, Name.CODE: str(outcome.failure.code)}
        if isinstance(outcome, Dead) or outcome.counts:
            says[Name.ERROR_TYPE] = str(outcome.failure.code)
            span.fail(outcome.failure.reason)
    elif one.headers is not None:
        began = one.headers.accepted_at or one.headers.first_attempt_at
        if (now - began).total_seconds() > TRACING.slow_seconds:
            span.journey.keep()
    span.attributes.update(says)
    if span.journey.sampled:
        keep_trace()  # of the batch too
    span.end()


_NAMES: Final = {lane: f"process {lane.value}" for lane in Lane}
_ATTRIBUTES: Final = {lane: messaging("process", lane.value) for lane in Lane}
