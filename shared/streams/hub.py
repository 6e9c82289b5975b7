"""The event log as an event hub: the one place here that knows the SDK."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

from .event_log import NEVER, Annotations, Extent, LogUnavailable, StreamEvent

if TYPE_CHECKING:
    from azure.eventhub import EventData
    from azure.eventhub.aio import EventHubConsumerClient

__all__ = ["HubLog"]

T = TypeVar("T")

CHUNK = 50
"""Events that are handed over at once, and that the service sends ahead: of the largest, 50 MiB."""
QUIET_SECONDS = 15.0
"""When nothing came for so long, though there should be something, the log can't be read now."""
KEPT = 64 * 1024
"""Bytes of an undecodable body that are kept."""
_DECODING = (ArithmeticError, LookupError, RecursionError, TypeError, UnicodeError, ValueError, struct.error)
"""What the client's decoder raises of bytes that it doesn't understand; an error of the service is none of these."""


class HubLog:
    """Implements `EventLog`.

    It reads as `$Default`: the trigger's own group has one reader for each partition, which another would displace.

    Parameters
    ----------
    connect:
        Makes a client; each call has its own, since hardly any is made.
    """

    def __init__(
        self, connect: "Callable[[], EventHubConsumerClient]", *, quiet_seconds: float = QUIET_SECONDS
    ) -> None:
        self._connect = connect
        self._quiet = quiet_seconds

    async def identity(self) -> str:
        """See `EventLog`: when the hub was made."""
        properties = await self._ask(lambda client: client.get_eventhub_properties())
        made = properties["created_at"]
        return str((made if made.tzinfo else made.replace(tzinfo=UTC)).astimezone(UTC).isoformat())

    async def partitions(self) -> list[str]:
        """See `EventLog`."""
        return list(await self._ask(lambda client: client.get_partition_ids()))

    async def extent(self, partition: str) -> Extent:
        """See `EventLog`."""
        return _extent(await self._ask(lambda client: client.get_partition_properties(partition)))

    async def extents(self) -> dict[str, Extent]:
        """See `EventLog`."""

        async def every(client: "EventHubConsumerClient") -> dict[str, Extent]:
            names = await client.get_partition_ids()
            found = await asyncio.gather(*(client.get_partition_properties(name) for name in names))
            return {name: _extent(one) for name, one in zip(names, found, strict=True)}

        return await self._ask(every)

    async def _ask(self, question: "Callable[[EventHubConsumerClient], Awaitable[T]]") -> T:
        from azure.eventhub.exceptions import EventHubError

        try:
            async with asyncio.timeout(self._quiet), self._connect() as client:
                return await question(client)
        except (EventHubError, TimeoutError) as error:
            raise LogUnavailable(f"the event hub doesn't answer: {type(error).__name__}") from error

    async def read(self, partition: str, *, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """See `EventLog`.

        An event that the client itself can't decode ends its link, and those behind it come with it: so it is asked for
        alone, and passed over where nothing else can be at fault.
        """
        ahead = CHUNK
        while True:
            come = after
            try:
                async with aclosing(self._receive(partition, after, ahead)) as chunks:
                    async for events in chunks:
                        if new := [event for event in events if event.sequence_number > after]:
                            after, ahead = new[-1].sequence_number, CHUNK
                            yield new
            except _Undecodable as error:
                if after > come or ahead > 1:
                    ahead = 1
                    continue
                after, ahead = after + 1, CHUNK
                why = f"The client can't decode it: {error}."
                yield [StreamEvent(body=b"", partition=partition, offset="", sequence_number=after, unreadable=why)]

    async def _receive(self, partition: str, after: int, ahead: int) -> AsyncGenerator[list[StreamEvent], None]:
        """The events after a number over one link, some maybe twice, with so many sent ahead."""
        chunks: asyncio.Queue[list[StreamEvent] | Exception] = asyncio.Queue(maxsize=1)

        async def take(_: Any, events: "list[EventData]") -> None:
            await chunks.put([_event(event, partition) for event in events])

        async def fail(_: Any, error: Exception) -> None:
            await chunks.put(error)

        async with self._connect() as client:
            receiving = asyncio.create_task(
                client.receive_batch(
                    take,
                    partition_id=partition,
                    starting_position="-1" if after < 0 else after,
                    max_batch_size=ahead,
                    prefetch=ahead,
                    on_error=fail,
                )
            )
            try:
                while True:
                    chunk = await asyncio.wait_for(chunks.get(), self._quiet)
                    if isinstance(chunk, Exception):
                        if isinstance(cause := chunk.__context__, _DECODING):
                            raise _Undecodable(type(cause).__name__) from chunk
                        raise LogUnavailable(f"partition {partition} can't be read after {after}") from chunk
                    yield chunk
            except TimeoutError as error:
                raise LogUnavailable(f"nothing comes from partition {partition} after {after}") from error
            finally:
                receiving.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await receiving


class _Undecodable(Exception):
    """The client failed on the bytes of an event."""


def _extent(found: Mapping[str, Any]) -> Extent:
    """Of a partition's properties, as the SDK has them."""
    last = found["last_enqueued_sequence_number"]
    return Extent(first=last + 1 if found["is_empty"] else found["beginning_sequence_number"], last=last)


def _event(event: "EventData", partition: str) -> StreamEvent:
    from azure.eventhub.amqp import AmqpMessageBodyType

    body: Any = event.body
    is_data = event.body_type is AmqpMessageBodyType.DATA
    return StreamEvent(
        body=b"".join([body] if isinstance(body, bytes) else body) if is_data else _kept(body),
        partition=partition,
        offset=str(event.offset or ""),
        sequence_number=event.sequence_number or 0,
        properties=_beside(event.properties or {}),
        unreadable="" if is_data else f"The body is an AMQP {event.body_type.name.lower()}, not data.",
        annotations=Annotations(
            enqueued=event.enqueued_time or NEVER,
            system={
                name: _readable(one)
                for name, one in _beside(event.system_properties or {}).items()
                if name != "x-opt-enqueued-time"
            },
        ),
    )


def _beside(properties: Mapping[Any, Any]) -> dict[str, Any]:
    """What stands beside a body as the host hands it over: names are text, and bytes base64.

    The client has texts as bytes: what is UTF-8 is taken for one.
    """
    return {_text(name): _text(one) if isinstance(one, bytes) else one for name, one in properties.items()}


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _kept(body: Any) -> bytes:
    """What an operator can read of a body that isn't bytes: bytes and text as they are, anything else as JSON."""
    if isinstance(body, bytes):
        return body
    try:
        text = _readable(body)
        return (text if isinstance(text, str) else json.dumps(text)).encode("utf-8", "replace")[:KEPT]
    except RecursionError:
        return b""


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(_readable(name)): _readable(one) for name, one in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_readable(one) for one in value]
    return value if value is None or isinstance(value, int | float | str) else str(value)
