"""What this process remembers of the messages it dealt with lately: it saves reads, and nothing depends on it."""

from collections import defaultdict
from typing import TypeVar
from uuid import UUID

from shared.messages import Delivery, Headers, PayloadHash

from .outcomes import Message

__all__ = ["Recent"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent:
    """Bounded memory of commits that this process has seen succeed.

    Whether an aggregate is new is a guess from the latest messages of an event type; a wrong one meets a conflict at
    its commit and is put right.

    Parameters
    ----------
    after:
        So many new aggregates in a row make the next one likely.
    remembered:
        Messages, and keys, seen last.
    """

    def __init__(self, *, after: int = 32, remembered: int = 20_000) -> None:
        self._after = after
        self._remembered = remembered
        self._in_a_row: defaultdict[str, int] = defaultdict(int)
        self._keys: dict[str, None] = {}
        self._done: dict[tuple[int, UUID], PayloadHash] = {}
        self._published: dict[str, int] = {}
        self._put_off: dict[tuple[str, int], None] = {}

    def expects_new(self, headers: Headers) -> bool:
        """Whether the aggregate has probably emitted nothing yet."""
        return self._in_a_row[headers.event_type] >= self._after and headers.key not in self._keys

    def looked_for(self, headers: Headers, *, new: bool) -> None:
        """Learn from a message whose aggregate was looked for."""
        self._in_a_row[headers.event_type] = self._in_a_row[headers.event_type] + 1 if new else 0

    def see(self, headers: Headers) -> None:
        """Remember the key: its next message doesn't begin it."""
        self._keep(self._keys, headers.key, None)

    def done(self, message: Message) -> None:
        """Remember a message whose inbox record says, for good, that it is done."""
        self._keep(self._done, (message.bucket, message.headers.message_id), message.payload_hash)

    def is_done(self, message: Message) -> bool:
        """Whether this very message was done; False where the inbox must be asked, as for every replay."""
        known = self._done.get((message.bucket, message.headers.message_id))
        return known == message.payload_hash and not message.headers.replay

    def put_off(self, delivery: Delivery) -> None:
        """Remember a delivery whose delayed copy the broker has: where its batch fails yet, it needs no second one."""
        self._keep(self._put_off, (delivery.message_id, delivery.sequence_number), None)

    def is_put_off(self, delivery: Delivery) -> bool:
        """Whether this delivery's delayed copy is on its way."""
        return (delivery.message_id, delivery.sequence_number) in self._put_off

    def published(self, key: str, sequence: int) -> None:
        """Remember that all an aggregate had emitted up to a sequence number is published."""
        self._keep(self._published, key, sequence)

    def is_published(self, key: str, sequence: int) -> bool:
        """Whether an aggregate that has emitted so much has nothing left in the outbox; else that must be asked."""
        return self._published.get(key) == sequence

    def _keep(self, memory: dict[Key, Value], key: Key, value: Value) -> None:
        """The latest last; where there are too many, the oldest goes."""
        memory.pop(key, None)
        memory[key] = value
        if len(memory) > self._remembered:
            del memory[next(iter(memory))]
