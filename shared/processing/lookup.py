"""What is known of a message before its handler runs: whether it was dealt with, and what its aggregate has said."""

import asyncio
from collections.abc import Sequence

from shared.messages import ErrorCode
from shared.state import Aggregate, Row, StateStore, etag_of, head_key, inbox_key

from .failures import Category, Failure
from .outcomes import Dead, Duplicate, Item

__all__ = ["look_up"]


async def look_up(store: StateStore, bucket: int, items: Sequence[Item]) -> None:
    """Give each item of a bucket its outcome where it was dealt with before, else its aggregate: one query for all."""
    messages = [item.read for item in items]
    rows = await store.find(
        bucket,
        [key for message in messages for key in (inbox_key(message.headers.message_id), head_key(message.headers.key))],
    )
    open_items = []
    for item in items:
        inbox = rows.get(inbox_key(item.read.headers.message_id))
        item.outcome = _verdict(item, inbox)
        if item.outcome is None:
            open_items.append((item, inbox))
    await asyncio.gather(
        *(_know(store, bucket, item, inbox, rows.get(head_key(item.read.headers.key))) for item, inbox in open_items)
    )


async def _know(store: StateStore, bucket: int, item: Item, inbox: Row | None, head: Row | None) -> None:
    key = item.read.headers.key
    unpublished = [row async for row in store.outbox(bucket, key)] if head is not None else []
    item.aggregate = Aggregate(
        sequence=0 if head is None else int(head["sequence"]),
        facts=0 if head is None else int(head["facts"]),
        etag=None if head is None else etag_of(head),
        unpublished=unpublished,
        replayed=None if inbox is None else etag_of(inbox),
    )


def _verdict(item: Item, inbox: Row | None) -> Duplicate | Dead | None:
    """None: go on. An operator's replay opens a record again; another payload under a known id is refused."""
    if inbox is None or inbox["status"] == "replaying":
        return None
    known = inbox.get("payloadSha256")
    if not known or known == item.read.fingerprint:
        return Duplicate()
    return Dead(
        Failure(
            Category.INVALID,
            ErrorCode.MESSAGE_ID_CONFLICT,
            "This message id was used before for another payload; a new message needs a new id.",
        )
    )
