"""A partition: an append-only log of events, and where in it a reader starts."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any, Final

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.amqp.encode import encode, encode_map_items
from local_azure.broker.amqp.message import (
    BATCH_FORMAT,
    data_sections,
    encode_annotations,
    encode_delivery_annotations,
    scan,
)
from local_azure.broker.amqp.types import Symbol, Timestamp

__all__ = ["PARTITION_KEY", "Event", "Partition", "parse_events"]

PARTITION_KEY: Final = "x-opt-partition-key"
_OWNED: Final = frozenset(("x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"))
_ASSUMED_OVERHEAD: Final = 64
"""Bytes an event occupies in the log beyond its own, so that offsets look like the service's."""


class Event:
    """One event: the sender's bytes, and its place in the log. `enqueued_at` is in ms since the epoch."""

    __slots__ = ("annotations", "annotations_count", "bare", "enqueued_at", "offset", "sequence")

    def __init__(self, bare: bytes, annotations: bytes = b"", annotations_count: int = 0) -> None:
        self.bare = bare
        self.annotations = annotations
        self.annotations_count = annotations_count
        self.sequence = 0
        self.offset = 0
        self.enqueued_at = 0

    @property
    def size(self) -> int:
        """Bytes that the event occupies in the log."""
        return len(self.bare) + len(self.annotations) + _ASSUMED_OVERHEAD

    def encode(self, metrics: bytes = b"") -> bytes:
        """The event as a reader gets it; `metrics` is an encoded delivery annotations section."""
        offset = b"%d" % self.offset
        pairs = b"".join(
            (
                _pack_sequence(_SEQUENCE_KEY, self.sequence),
                _OFFSET_KEY,
                bytes((len(offset),)),
                offset,
                _pack_enqueued(_ENQUEUED_KEY, self.enqueued_at),
                self.annotations,
            )
        )
        return metrics + encode_annotations(pairs, 6 + self.annotations_count) + self.bare


_SEQUENCE_KEY: Final = encode(Symbol("x-opt-sequence-number")) + b"\x81"
_OFFSET_KEY: Final = encode(Symbol("x-opt-offset")) + b"\xa1"
_ENQUEUED_KEY: Final = encode(Symbol("x-opt-enqueued-time")) + b"\x83"
_pack_sequence = struct.Struct(f">{len(_SEQUENCE_KEY)}sq").pack
_pack_enqueued = struct.Struct(f">{len(_ENQUEUED_KEY)}sq").pack


def parse_events(payload: bytes, message_format: int) -> tuple[list[Event], str | None]:
    """The events that a transfer carries, and the partition key they share, if any.

    Raises
    ------
    DecodeError
        If the bytes are no message.
    """
    outer = scan(payload)
    annotations = outer.annotations if outer.annotations_at else {}
    key = annotations.get(PARTITION_KEY)
    if message_format != BATCH_FORMAT:
        bare = payload[outer.bare :]
        return [_event(bare, annotations)], key if isinstance(key, str) else None
    events = []
    for data in data_sections(payload, outer.body):
        inner = scan(data)
        own = inner.annotations if inner.annotations_at else {}
        if key is not None and PARTITION_KEY not in own:
            own = {**own, Symbol(PARTITION_KEY): key}
        if key is None:
            key = own.get(PARTITION_KEY)
        events.append(_event(data[inner.bare :], own))
    return events, key if isinstance(key, str) else None


def _event(bare: bytes, annotations: dict[Any, Any]) -> Event:
    kept = {name: value for name, value in annotations.items() if name not in _OWNED}
    return Event(bare, encode_map_items(kept), 2 * len(kept)) if kept else Event(bare)


class Partition:
    """The log of one partition. Events are seen by readers once `publish` was called for them."""

    def __init__(self, identity: int, name: str) -> None:
        self.identity = identity
        self.name = name
        self.events: list[Event] = []
        self.next_sequence = 0
        self.next_offset = 0
        self.size_bytes = 0
        self.last_enqueued_at = 0
        self.last_offset = -1
        self._reserved = 0

    @property
    def first_sequence(self) -> int:
        """Number of the oldest event kept, or of the next one when there is none."""
        return self.events[0].sequence if self.events else self.next_sequence

    @property
    def reserved_sequence(self) -> int:
        """Number of the next event to be reserved."""
        return self.next_sequence + self._reserved

    def reserve(self, events: Sequence[Event], now: int) -> None:
        """Number events that are about to be stored."""
        sequence = self.reserved_sequence
        for event in events:
            event.sequence = sequence
            event.offset = self.next_offset
            event.enqueued_at = now
            sequence += 1
            self.next_offset += event.size
        self._reserved += len(events)

    def publish(self, events: Sequence[Event]) -> None:
        """Let readers see events that are stored now."""
        self._reserved -= len(events)
        self._append(events)

    def restore(self, events: Sequence[Event], next_sequence: int, next_offset: int) -> None:
        """Take back events that storage kept, and where the log goes on."""
        self._append(events)
        self.next_sequence = max(self.next_sequence, next_sequence)
        self.next_offset = next_offset
        if not events:
            self.last_offset = next_offset - 1  # where the last one began is not known any more, only where it ended

    def _append(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        self.size_bytes += sum(event.size for event in events)
        if events:
            last = events[-1]
            self.next_sequence = last.sequence + 1
            self.last_enqueued_at = last.enqueued_at
            self.last_offset = last.offset

    def trim(self, oldest: int, max_bytes: int | None) -> bool:
        """Drop events from before `oldest` (ms) and above a size; True if some were dropped."""
        drop = 0
        size = self.size_bytes
        for event in self.events:
            if event.enqueued_at >= oldest and (max_bytes is None or size <= max_bytes):
                break
            size -= event.size
            drop += 1
        if drop:
            del self.events[:drop]
            self.size_bytes = size
        return drop > 0

    def from_sequence(self, sequence: int, count: int) -> list[Event]:
        """Up to `count` events, from a number on or the oldest kept."""
        start = max(0, sequence - self.first_sequence)
        return self.events[start : start + count]

    def metrics(self, now: int) -> bytes:
        """Delivery annotations that tell a reader how far it is behind."""
        return encode_delivery_annotations(
            {
                "last_enqueued_sequence_number": self.next_sequence - 1,
                "last_enqueued_offset": str(self.last_offset),
                "last_enqueued_time_utc": Timestamp(self.last_enqueued_at),
                "runtime_info_retrieval_time_utc": Timestamp(now),
            }
        )

    def position(self, selector: str | None) -> int:
        """Number of the first event that a selector lets through; without one, all are.

        A position beyond the log is refused as in the service, whose words these are: a reader would wait in
        silence for events that it never asked for, as with checkpoints of a log that was made anew.

        Raises
        ------
        AmqpError
            If the selector is not one of the service's, or names a position that the log has not reached.
        """
        if selector is None:
            return self.first_sequence
        match = _SELECTOR.fullmatch(selector.strip())
        if match is None:
            raise AmqpError(Condition.INVALID_FIELD, f"The filter {selector!r} is not a position in a partition")
        field, operator, text = match.groups()
        if field == "offset":
            return self._at_offset(text, inclusive=operator == ">=")
        value = _number(text, selector)
        if field == "sequence-number":
            if value >= self.next_sequence:
                raise _beyond("sequence number", value, self.next_sequence - 1)
            return value if operator == ">=" else value + 1
        return self._at_time(value, inclusive=operator == ">=")

    def _at_offset(self, text: str, *, inclusive: bool) -> int:
        if text == "@latest":
            return self.next_sequence
        offset = _number(text, text)
        if offset < 0:
            return self.first_sequence
        if offset > self.last_offset:
            raise _beyond("offset", offset, self.last_offset)
        for event in self.events:
            if event.offset > offset or (inclusive and event.offset == offset):
                return event.sequence
        return self.next_sequence

    def _at_time(self, time: int, *, inclusive: bool) -> int:
        for event in self.events:
            if event.enqueued_at > time or (inclusive and event.enqueued_at == time):
                return event.sequence
        return self.next_sequence


_SELECTOR: Final = re.compile(
    r"amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time|enqueuedtimeutc)\s*(>=|>)\s*'?([^']*)'?"
)


def _beyond(kind: str, supplied: int, last: int) -> AmqpError:
    return AmqpError(
        Condition.ARGUMENT_ERROR,
        f"The supplied {kind} '{supplied}' is invalid. The last {kind} in the system is '{last}'",
    )


def _number(text: str, selector: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise AmqpError(Condition.INVALID_FIELD, f"The filter {selector!r} does not end in a whole number") from None
