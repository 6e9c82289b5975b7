"""The second stage, deduplicate: whether a message was dealt with before, and else what is known of its aggregate.

What this process remembers of the messages it dealt with lately saves reads, and nothing depends on it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from shared.messages import Category, Delivery, ErrorCode, Failure, Headers, PayloadHash
from shared.outbox import OutboxRows
from shared.state import Row, StateStore, inbox_key, is_edited, sequence_key
from shared.tables import etag_of
from shared.work import Aggregate, Dead, Duplicate, Ended, Fresh, Message

__all__ = ["Deduplication", "Recent"]


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


class Deduplication:
    """Looks messages up before their handlers run, and again after a conflict."""

    def __init__(self, store: StateStore, recent: Recent, outbox: OutboxRows) -> None:
        self._store = store
        self._recent = recent
        self._outbox = outbox

    async def sort(self, bucket: int, messages: Sequence[Message]) -> list[Fresh | Ended]:
        """Each message of a bucket: its end where it was dealt with before, else with its aggregate.

        The inbox is always asked, and first: of a second delivery nothing else is read, nor that where this process has
        done the message itself. A sequence row is only read where there is probably one: the commit of a message
        wrongly taken for its aggregate's first meets a conflict. The outbox is only asked where somebody else emitted
        last.
        """
        done = [Ended(one.delivery, Duplicate(), one.headers, one) for one in messages if self._recent.is_done(one)]
        unsettled = [one for one in messages if not self._recent.is_done(one)]
        return [*done, *(await self._look(bucket, unsettled, guess=True) if unsettled else [])]

    async def again(self, bucket: int, message: Message) -> Fresh | Ended:
        """The same after a conflict: nothing is guessed."""
        (found,) = await self._look(bucket, [message], guess=False)
        return found

    async def _look(self, bucket: int, messages: Sequence[Message], *, guess: bool) -> list[Fresh | Ended]:
        ids = [one for message in messages for one in message.headers.identities]
        inbox = await self._store.find(bucket, [inbox_key(one) for one in ids])
        found: list[Fresh | Ended] = []
        unknown: list[Fresh] = []
        for message in messages:
            headers = message.headers
            known = inbox.get(inbox_key(headers.message_id))
            former = None if headers.former_id is None else inbox.get(inbox_key(headers.former_id))
            outcome = _verdict(message, known) or _former_verdict(message, former)
            if outcome is not None:
                found.append(Ended(message.delivery, outcome, headers, message))
                continue
            replaced = None if known is None else etag_of(known)
            fresh = Fresh(
                message, Aggregate(replayed=replaced, former_id=headers.former_id if former is None else None)
            )
            expected = guess and self._recent.expects_new(message.headers)
            self._recent.see(message.headers)
            (found if expected else unknown).append(fresh)
        if unknown:
            rows = await self._store.find(bucket, [sequence_key(one.message.headers.key) for one in unknown])
            found += await asyncio.gather(*(self._know(bucket, one, rows) for one in unknown))
        return found

    async def _know(self, bucket: int, fresh: Fresh, rows: Mapping[str, Row]) -> Fresh:
        headers = fresh.message.headers
        row = rows.get(sequence_key(headers.key))
        self._recent.looked_for(headers, new=row is None)
        if row is None:
            return fresh
        sequence = int(row["sequence"])
        published = self._recent.is_published(headers.key, sequence)
        aggregate = replace(
            fresh.aggregate,
            sequence=sequence,
            events=int(row["facts"]),
            etag=etag_of(row),
            unpublished=[] if published else await self._outbox.unpublished(bucket, headers.key),
        )
        return replace(fresh, aggregate=aggregate)


def _verdict(message: Message, inbox: Row | None) -> Duplicate | Dead | None:
    """None: go on. An operator's replay opens a row again; another payload under a known id is refused.

    Of an edited message the row has the new payload's hash: an earlier copy that comes meanwhile does nothing.
    """
    if inbox is None or _is_of_another(message, inbox):
        return None
    if inbox["status"] == "replaying":
        return Duplicate() if is_edited(inbox) and not message.has_payload_of(inbox) else None
    if not inbox.get("payloadSha256") or message.has_payload_of(inbox):
        return Duplicate()
    if message.handler.webhook is not None:  # senders count their tries in the body
        return Duplicate()
    if message.handler.feed is not None:  # a model that changed since reads more or less of the row before
        return Duplicate()
    return Dead(
        Failure(
            Category.INVALID,
            ErrorCode.MESSAGE_ID_CONFLICT,
            "This message id was used before for another payload; a new message needs a new id.",
        )
    )


def _is_of_another(message: Message, inbox: Row) -> bool:
    """Whether a row stands for an event of another sender, whose id this message happens to have."""
    return "aliasOf" in inbox and inbox.get("source") != message.headers.source


def _former_verdict(message: Message, inbox: Row | None) -> Duplicate | Dead | None:
    """The same of the row under an event's id alone, where the release before keeps its record of it.

    That release doesn't say whose event it was: only the same payload is taken for the same event.
    """
    if inbox is None or "aliasOf" in inbox or inbox.get("source", message.headers.source) != message.headers.source:
        return None
    if "source" in inbox:
        return _verdict(message, {**inbox, "status": "done"})
    return Duplicate() if message.has_payload_of(inbox) else None
