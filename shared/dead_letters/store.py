"""The one place where every dead letter ends, in Table storage, with bodies too large for it in Blob storage.

A body's blob is named after its dead letter, whose id follows from the body: writing it again changes nothing. It is
written before the row and deleted after it, and only while it is old, so no row is ever left without its body.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from shared.encryption import MessageEncryption, UnknownKey
from shared.messages import Headers
from shared.state import etag_of
from shared.tables import TableSession, TransactionFailed

from .record import DeadLetter, Note, Status, StoredLetter
from .rows import COLUMNS, INLINE_BYTES, from_row, history_column, merged, partition_of, to_row
from .selection import GROUP_COLUMNS, Filters, Group, grouped_into

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["DeadLetterStore", "Page", "Swept"]

T = TypeVar("T")

_PAGE = 500
_SIDE_BY_SIDE = 16
_MAX_RACES = 20
_BLOB_GRACE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page:
    """Some dead letters, and where the next ones begin; `next` is None at the end."""

    letters: list[StoredLetter]
    next: Mapping[str, str] | None


@dataclass(slots=True)
class Swept:
    """What a sweep deleted; `finished` is False where its time ran out before the end."""

    records: int = 0
    open: int = 0
    bodies: int = 0
    finished: bool = True


class DeadLetterStore:
    """Keeps dead letters; writing the same one again replaces it, so a redelivery makes no second one.

    Parameters
    ----------
    encryption:
        Seals bodies at rest, each for its dead letter only, and opens them; what was kept plain is read all the same.
    """

    def __init__(
        self, table: TableClient, bodies: "ContainerClient", *, encryption: MessageEncryption | None = None
    ) -> None:
        self._table = table
        self._bodies = bodies
        self._encryption = encryption
        self._session: TableSession | None = None

    async def put(self, letter: DeadLetter) -> None:
        """Return when the dead letter is stored; one that is known keeps its first failure and its history."""
        row = to_row(letter)
        body = letter.body
        if body and self._encryption is not None:
            body = await self._encryption.encrypt_for(letter.id, body)
            row["sealed"] = True
        if len(body) > INLINE_BYTES:
            row["bodyBlob"] = await self._upload(letter.id, body)
        elif body:
            row["body"] = body
        for _ in range(_MAX_RACES):
            with suppress(ResourceExistsError):
                await self._create(row)
                return
            known = await self._row(letter.id)
            if known is not None and await self._replace(merged(known, row), etag_of(known)):
                return
        raise TimeoutError(f"the dead letter {letter.id} keeps changing")

    async def get(self, identity: str) -> StoredLetter | None:
        """The dead letter with this id, or None."""
        row = await self._row(identity, COLUMNS)
        return None if row is None else from_row(row)

    async def starting_with(self, prefix: str, *, limit: int = 10) -> list[StoredLetter]:
        """Dead letters whose ids begin with two or more hex digits."""
        text = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @after"
        parameters = {"partition": partition_of(prefix), "first": prefix, "after": f"{prefix}g"}
        found: list[StoredLetter] = []
        async for row in self._rows(text, parameters, COLUMNS):
            found.append(from_row(row))
            if len(found) == limit:
                break
        return found

    async def body(self, letter: StoredLetter) -> bytes:
        """The message as it came, byte for byte.

        Raises
        ------
        LookupError
            It isn't there any more: the dead letter was swept meanwhile.
        ProtectionError
            It is sealed and can't be opened.
        KeysUnavailable
        """
        if letter.body_size == 0:
            return b""
        kept = await self._kept(letter)
        if not letter.sealed:
            return kept
        if self._encryption is None:
            raise UnknownKey("The dead letter is sealed, and the settings name no data key.")
        return await self._encryption.decrypt_for(letter.id, kept)

    async def message(self, letter: StoredLetter) -> bytes:
        """The message that a body holds: opened, where its lane had sealed it; raises as `body` does."""
        body = await self.body(letter)
        if self._encryption is None or letter.properties.get("sealed") is None:
            return body
        return await self._encryption.decrypt(Headers.from_properties(letter.properties), body)

    async def _kept(self, letter: StoredLetter) -> bytes:
        try:
            if letter.body_blob is not None:
                stream = await self._bodies.download_blob(letter.body_blob)
                return await stream.readall()
            row = await self._table.get_entity(partition_of(letter.id), letter.id, select=["body"])
            return bytes(row["body"])
        except (ResourceNotFoundError, KeyError):
            raise LookupError(f"the body of the dead letter {letter.id} is gone") from None

    async def page(self, filters: Filters, *, size: int = 100, start: Mapping[str, str] | None = None) -> Page:
        """Up to `size` matching dead letters from `start` on, in the order of their ids."""
        text, parameters = filters.query()
        pages = self._query(text, parameters, COLUMNS, size).by_page(continuation_token=dict(start) if start else None)
        try:
            rows = await anext(pages)
            letters = [from_row(row) async for row in rows]
        except (StopAsyncIteration, ResourceNotFoundError):
            return Page([], None)
        return Page(letters, pages.continuation_token or None)

    async def select(self, filters: Filters) -> AsyncIterator[StoredLetter]:
        """Every matching dead letter, read page by page, in the order of their ids."""
        text, parameters = filters.query()
        async for row in self._rows(text, parameters, COLUMNS):
            yield from_row(row)

    async def newest(self, filters: Filters, count: int) -> tuple[list[StoredLetter], int]:
        """The `count` matching dead letters that failed last, newest first, and how many match in all.

        No more than `count` are held at a time.
        """
        heap: list[tuple[datetime, str, StoredLetter]] = []
        total = 0
        async for letter in self.select(filters):
            total += 1
            entry = (letter.last_failure, letter.id, letter)
            if len(heap) < count:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        newest = sorted(heap, key=lambda entry: entry[:2], reverse=True)
        return [letter for _, _, letter in newest], total

    async def groups(self, filters: Filters) -> list[Group]:
        """Matching dead letters counted by fingerprint, the largest group first."""
        groups: dict[str, Group] = {}
        text, parameters = filters.query()
        async for row in self._rows(text, parameters, GROUP_COLUMNS):
            grouped_into(groups, [row])
        return sorted(groups.values(), key=lambda group: (-group.count, group.fingerprint))

    async def claims(self) -> AsyncIterator[str]:
        """The blob name of every claim that a dead letter still refers to."""
        async for row in self._rows("claim gt @nothing", {"nothing": ""}, ("claim",)):
            yield row["claim"]

    async def change(
        self,
        letter: StoredLetter,
        *,
        status: Status,
        note: Note | None = None,
        at: datetime,
        replays: int | None = None,
    ) -> StoredLetter | None:
        """Set the status and note who did it; None where somebody else has changed the dead letter meanwhile."""
        history = (*letter.history, note) if note else letter.history
        count = letter.replays if replays is None else replays
        row = {
            "PartitionKey": partition_of(letter.id),
            "RowKey": letter.id,
            "status": status.value,
            "replays": count,
            "changedAt": at,
            "history": history_column(history),
        }
        try:
            answer = await self._table.update_entity(
                row, UpdateMode.MERGE, etag=letter.etag, match_condition=MatchConditions.IfNotModified
            )
        except (ResourceModifiedError, ResourceNotFoundError):
            return None
        return replace(letter, status=status, replays=count, changed_at=at, history=history, etag=str(answer["etag"]))

    async def sweep(self, before: datetime, *, time_left: Callable[[], bool]) -> Swept:
        """Delete what failed last before `before`, and bodies that no row refers to; stop when no time is left."""
        swept = Swept()
        text, parameters = Filters(until=before).query()
        columns = ("PartitionKey", "RowKey", "status", "bodyBlob")
        pages = self._query(text, parameters, columns, _PAGE).by_page()
        try:
            async for page in pages:
                rows = [row async for row in page]
                for start in range(0, len(rows), _SIDE_BY_SIDE):
                    await _all(*(self._sweep_row(row, before, swept) for row in rows[start : start + _SIDE_BY_SIDE]))
                    if not time_left():
                        swept.finished = False
                        return swept
        except ResourceNotFoundError:  # there is no table, so there never was a dead letter
            return swept
        await self._sweep_bodies(before - _BLOB_GRACE, swept, time_left)
        return swept

    async def _sweep_row(self, row: Mapping[str, Any], before: datetime, swept: Swept) -> None:
        try:
            await self._table.delete_entity(
                row["PartitionKey"],
                row["RowKey"],
                etag=etag_of(row) or "*",
                match_condition=MatchConditions.IfNotModified,
            )
        except (ResourceModifiedError, ResourceNotFoundError):  # it failed again just now, or is gone
            return
        swept.records += 1
        swept.open += row["status"] == Status.OPEN
        if row.get("bodyBlob"):
            await self._delete_body(row["bodyBlob"], before, swept)

    async def _sweep_bodies(self, before: datetime, swept: Swept, time_left: Callable[[], bool]) -> None:
        """Bodies whose row was never written, or was deleted without them: a crash came between."""
        with suppress(ResourceNotFoundError):
            async for blob in self._bodies.list_blobs():
                if not time_left():
                    swept.finished = False
                    return
                if blob.last_modified < before and await self._row(str(blob.name), ("RowKey",)) is None:
                    await self._delete_body(str(blob.name), before, swept)

    async def _delete_body(self, name: str, before: datetime, swept: Swept) -> None:
        """Only while it is old: a body that was written again a moment ago belongs to a row about to come."""
        with suppress(ResourceNotFoundError, ResourceModifiedError):
            await self._bodies.delete_blob(name, if_unmodified_since=before)
            swept.bodies += 1

    async def probe(self) -> None:
        """Fail with an Azure error where the table can't be reached."""
        with suppress(ResourceNotFoundError):
            await self._table.get_entity("00", "00", select=["RowKey"])

    async def close(self) -> None:
        """Close the HTTP sessions."""
        if self._session is not None:
            await self._session.close()
        await self._table.close()
        await self._bodies.close()

    def _query(self, text: str, parameters: Mapping[str, Any], columns: tuple[str, ...], size: int) -> Any:
        if not text:
            return self._table.list_entities(select=list(columns), results_per_page=size)
        return self._table.query_entities(
            text, parameters=dict(parameters), select=list(columns), results_per_page=size
        )

    async def _rows(
        self, text: str, parameters: Mapping[str, Any], columns: tuple[str, ...]
    ) -> AsyncIterator[Mapping[str, Any]]:
        with suppress(ResourceNotFoundError):  # no table, no dead letters
            async for row in self._query(text, parameters, columns, _PAGE):
                yield row

    async def _row(self, identity: str, columns: tuple[str, ...] | None = None) -> Mapping[str, Any] | None:
        select = {"select": list(columns)} if columns else {}
        try:
            row: Mapping[str, Any] = await self._table.get_entity(partition_of(identity), identity, **select)
        except ResourceNotFoundError:
            return None
        return row

    async def _create(self, row: Mapping[str, Any]) -> None:
        await _making(self._table.create_table, lambda: self._insert(row))

    async def _insert(self, row: Mapping[str, Any]) -> None:
        """Every poison message comes this way: the SDK's own insert would cost twice as much."""
        if self._session is None:
            self._session = TableSession(self._table)
        try:
            await self._session.submit([("create", row)])
        except TransactionFailed as error:
            kind = {404: ResourceNotFoundError, 409: ResourceExistsError}.get(error.status_code or 0)
            if kind is None:
                raise
            raise kind(str(error)) from error

    async def _replace(self, row: Mapping[str, Any], etag: str | None) -> bool:
        try:
            await self._table.update_entity(
                row, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        return True

    async def _upload(self, name: str, body: bytes) -> str:
        await _making(
            self._bodies.create_container,
            lambda: self._bodies.upload_blob(name, body, length=len(body), overwrite=True),
        )
        return name


async def _making(make: Callable[[], Awaitable[Any]], use: Callable[[], Awaitable[T]]) -> T:
    """Use a table or container; where it isn't there yet, make it first."""
    try:
        return await use()
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):
            await make()
        return await use()


async def _all(*calls: Awaitable[None]) -> None:
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
