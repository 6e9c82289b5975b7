"""Reads a batch of the event log for one consumer; a poison event is dead-lettered, and the rest goes on.

What the consumer makes of an event concerns this event only, and so does what a store refuses of it. Outages of storage
and of the key service leave the reader: the same events come again then.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from opentelemetry.trace import Link
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from shared.dead_letters import DeadLetter, DeadLetterStore
from shared.encryption import KeysUnavailable
from shared.messages import (
    Category,
    CloudEvent,
    Delivery,
    ErrorCode,
    Failure,
    InvalidMessage,
    MessageError,
    unknown_fields,
    validate_json,
)
from shared.privacy import FieldProtection, clear_text
from shared.resilience import BoundedCache
from shared.telemetry import Metrics, link_to, log_event, redacted_error

from .event_log import StreamEvent

__all__ = ["Delivered", "StreamReader", "is_refusal"]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

REMEMBERED = 20_000
"""Events of the last minutes: a publisher that crashed publishes what it had in hand once more."""


REFUSED = frozenset({400, 413})
"""Statuses by which a store refuses what it was given, whoever gives it; every other one tells of the store itself."""


@dataclass(slots=True)
class Delivered(Generic[T]):
    """What a consumer made of each event of a batch, and links to the spans in which the events were made."""

    parts: list[tuple[StreamEvent, CloudEvent, Sequence[T]]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def made(self) -> list[T]:
        """All of it, in order."""
        return [one for _, _, made in self.parts for one in made]


class StreamReader:
    """Reads for one consumer.

    Parameters
    ----------
    consumer:
        Its name in metrics.
    source:
        What its dead letters say of where they come from.
    failure:
        The code of an event that the consumer can't make anything of.
    fields:
        Decrypts the protected fields of events; without it they are in clear.
    """

    def __init__(
        self,
        dead_letters: DeadLetterStore,
        *,
        consumer: str,
        source: str,
        failure: ErrorCode,
        now: Callable[[], datetime],
        fields: FieldProtection | None = None,
    ) -> None:
        self._dead_letters = dead_letters
        self._consumer = consumer
        self._source = source
        self._failure = failure
        self._now = now
        self._fields = fields
        self._seen: BoundedCache[tuple[str, str], tuple[str, int, int]] = BoundedCache(REMEMBERED)

    async def read(
        self, events: Sequence[StreamEvent], consume: Callable[[CloudEvent], Awaitable[Sequence[T]]]
    ) -> Delivered[T]:
        """What `consume` makes of each event, in order; whatever it raises dead-letters that event.

        Raises
        ------
        KeysUnavailable
        """
        delivered = Delivered[T]()
        for received in events:
            event: CloudEvent | None = None
            try:
                if received.unreadable:
                    raise InvalidMessage(received.unreadable)
                event = CloudEvent.from_json(received.body)
                if self._is_duplicate(event, received):
                    Metrics.stream_events.add(consumer=self._consumer, outcome="duplicate")
                    continue
                delivered.parts.append((received, event, await consume(event)))
            except KeysUnavailable:
                raise
            except Exception as error:  # the consumer runs a user's code
                await self._dead_letter(received, event, error)
            else:
                Metrics.stream_events.add(consumer=self._consumer, outcome="consumed")
                Metrics.stream_delay.record((self._now() - event.time).total_seconds(), consumer=self._consumer)
                if (link := link_to(event.traceparent)) is not None:
                    delivered.links.append(link)
        return delivered

    async def store(self, delivered: Delivered[T], put: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        """Have everything stored by `put` at once; where that is refused, event by event: who is refused is poison.

        Whatever else `put` raises is an outage, and is raised.
        """
        made = delivered.made
        if not made:
            return
        try:
            await put(made)
        except Exception as error:
            if not is_refusal(error):
                raise
            for received, event, own in delivered.parts:
                try:
                    await put(own)
                except Exception as refused:
                    if not is_refusal(refused):
                        raise
                    await self._dead_letter(received, event, refused)

    async def decrypt(self, event: CloudEvent, model: type[M]) -> M:
        """The event's data, its protected fields in clear.

        Raises
        ------
        ProtectionError, KeysUnavailable, ValidationError
        """
        if self._fields is None:
            text = clear_text(event.data, model)
        else:
            text = await self._fields.decrypt(event.data, model, ("event", event.id, event.type))
        data = validate_json(model.model_validate_json, text.encode())
        if more := sum(1 for _ in unknown_fields(data, from_json(text))):
            Metrics.unknown_fields.add(more, event_type=event.type, version=event.version)
        return data

    def _is_duplicate(self, event: CloudEvent, received: StreamEvent) -> bool:
        """The same event was read at another position; the same position again is a redelivery, to be read anew."""
        key = (event.source, event.id)
        here = (received.partition, received.sequence_number, hash(received.body))
        known = self._seen.get(key)
        if known is None:
            self._seen.put(key, here)
            return False
        return known[:2] != here[:2] and known[2] == here[2]

    async def _dead_letter(self, received: StreamEvent, event: CloudEvent | None, error: Exception) -> None:
        code, reason = self._why(error)
        category = Category.PERMANENT if code == self._failure else Category.INVALID
        dead_letter = DeadLetter.of(
            Delivery(body=received.body, properties={}, message_id="", sequence_number=0, delivery_count=1),
            event,
            Failure(category, code, reason, error),
            identity=f"{self._source}:{received.partition}:{received.sequence_number}",
            source=self._source,
            position=received.position,
            now=self._now(),
        )
        await self._dead_letters.put(dead_letter)
        Metrics.stream_events.add(consumer=self._consumer, outcome="poison")
        log_event("event parked", level=40, code=code, reason=reason, **received.position)

    def _why(self, error: Exception) -> tuple[str, str]:
        if isinstance(error, MessageError):
            return error.code, error.message
        if isinstance(error, ValidationError):
            return ErrorCode.VALIDATION_ERROR, f"{error.error_count()} fields of the event are wrong"
        return self._failure, redacted_error(error)


def is_refusal(error: BaseException) -> bool:
    """Whether a store can't take what it was given, whoever asks and whenever; of several errors all must say so."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_refusal(one) for one in error.exceptions)
    if isinstance(error, ClientAuthenticationError):
        return False  # whatever its status: it tells of the app, and may be the identity's and not the store's
    if isinstance(error, HttpResponseError):
        return error.status_code in REFUSED
    return isinstance(error, ArithmeticError | LookupError | TypeError | ValueError)
