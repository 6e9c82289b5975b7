"""What is known of a message before its handler runs: whether it was dealt with, and what its aggregate has said."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from shared.messages import ErrorCode
from shared.state import Aggregate, Row, StateStore, etag_of, head_key, inbox_key

from .failures import Category, Failure
from .outcomes import Dead, Duplicate, Item
from .recent import Recent

__all__ = ["LookUp"]


class LookUp:
    """Looks messages up before their handlers run, and again after a conflict.

    Parameters
    ----------
    cleared:
        Returns when the outbox has no rows of a key that this process has published.
    """

    def __init__(self, store: StateStore, recent: Recent, cleared: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._recent = recent
        self._cleared = cleared

    async def all(self, bucket: int, items: Sequence[Item]) -> None:
        """Give each item of a bucket its outcome where it was dealt with before, else its aggregate.

        The inbox is always asked, and first: of a second delivery nothing else is read, nor that where this process has
        done the message itself. A head row is only read where there is probably one: the commit of a message wrongly
        taken for its aggregate's first meets a conflict. The outbox is only asked where somebody else spoke last.
        """
        unsettled = []
        for item in items:
            if self._recent.is_done(item.read):
                item.outcome = Duplicate()
            else:
                unsettled.append(item)
        if unsettled:
            await self._look(bucket, unsettled, guess=True)

    async def again(self, bucket: int, item: Item) -> None:
        """The same after a conflict: nothing is guessed."""
        await self._look(bucket, [item], guess=False)

    async def _look(self, bucket: int, items: Sequence[Item], *, guess: bool) -> None:
        inbox = await self._store.find(bucket, [inbox_key(item.read.headers.message_id) for item in items])
        unknown = []
        for item in items:
            known = inbox.get(inbox_key(item.read.headers.message_id))
            item.outcome = _verdict(item, known)
            if item.outcome is not None:
                continue
            item.aggregate = Aggregate(replayed=None if known is None else etag_of(known))
            expected = guess and self._recent.expects_new(item.read.headers)
            self._recent.see(item.read.headers)
            if not expected:
                unknown.append((item, item.aggregate))
        if not unknown:
            return
        heads = await self._store.find(bucket, [head_key(item.read.headers.key) for item, _ in unknown])
        await asyncio.gather(*(self._know(bucket, *one, heads) for one in unknown))

    async def _know(self, bucket: int, item: Item, aggregate: Aggregate, heads: Mapping[str, Row]) -> None:
        headers = item.read.headers
        head = heads.get(head_key(headers.key))
        self._recent.looked_for(headers, new=head is None)
        if head is not None:
            sequence = int(head["sequence"])
            item.aggregate = replace(
                aggregate,
                sequence=sequence,
                facts=int(head["facts"]),
                etag=etag_of(head),
                unpublished=[] if self._recent.is_published(headers.key, sequence) else await self._left(bucket, item),
            )

    async def _left(self, bucket: int, item: Item) -> list[Row]:
        key = item.read.headers.key
        await self._cleared(key)  # else what was published would be published again
        return [row async for row in self._store.outbox(bucket, key)]


def _verdict(item: Item, inbox: Row | None) -> Duplicate | Dead | None:
    """None: go on. An operator's replay opens a record again; another payload under a known id is refused."""
    if inbox is None or inbox["status"] == "replaying":
        return None
    known = inbox.get("payloadSha256")
    if not known or item.read.has_fingerprint(known):
        return Duplicate()
    return Dead(
        Failure(
            Category.INVALID,
            ErrorCode.MESSAGE_ID_CONFLICT,
            "This message id was used before for another payload; a new message needs a new id.",
        )
    )
