"""The one place where every dead letter ends, in Table storage, with bodies too large for it in Blob storage.

A body's blob is named after its dead letter, whose id follows from the body: writing it again changes nothing. It is
written before the row and deleted after it, and only while it is old, so no row is ever left without its body.
"""

import asyncio
import base64
import hashlib
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from azure.core.exceptions import AzureError

from shared.blobs import BodyStore
from shared.encryption import MessageEncryption, UnknownKey
from shared.messages import EDIT_OF, Delivery, ErrorCode, Headers, write_json
from shared.tables import Condition, Conflict, Create, Delete, Entity, Query, Replace, Table, again_on_conflict
from shared.telemetry import Metrics

from .record import DeadLetter, Edit, Note, Outgoing, Status, StoredLetter, content_id
from .rows import (
    COLUMNS,
    INLINE_BYTES,
    edit_columns,
    failed_again,
    from_row,
    history_column,
    merged,
    partition_of,
    properties_columns,
    to_row,
)
from .selection import GROUP_COLUMNS, Filters, Group, by_place, grouped_into

__all__ = ["DeadLetterStore", "LetterPage", "Swept"]

_PAGE = 500
_SIDE_BY_SIDE = 16
_BLOB_GRACE = timedelta(days=1)
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class LetterPage:
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
        Encrypts bodies at rest, each for its dead letter only, and decrypts them; plain ones are read all the same.
    """

    def __init__(self, table: Table, bodies: BodyStore, *, encryption: MessageEncryption | None = None) -> None:
        self._table = table
        self._bodies = bodies
        self._encryption = encryption

    async def put(self, letter: DeadLetter) -> None:
        """Return when the dead letter is stored; one that is known keeps its first failure and its history.

        An edited message that failed belongs to the dead letter that it came from, as long as that wasn't edited since.
        """
        if not await self._put_edited(letter):
            await self._put(letter)
        Metrics.dead_letters.add(category=letter.category)

    async def _put(self, letter: DeadLetter) -> None:
        row = to_row(letter)
        body = letter.body
        if body and self._encryption is not None:
            body = await self._encryption.encrypt_for(letter.id, body)
            row["sealed"] = True
        if len(body) > INLINE_BYTES:
            await self._bodies.put(letter.id, body)
            row["bodyBlob"] = letter.id
        elif body:
            row["body"] = body

        async def put() -> None:
            """Without a look at first: hardly any came before."""
            try:
                await self._table.submit([Create(row)])
            except Conflict:
                known = await self._row(letter.id)
                if known is None:
                    raise
                await self._table.submit([Replace(merged(known, row), known.etag)])

        await again_on_conflict(put, subject=f"the dead letter {letter.id}")

    async def _put_edited(self, letter: DeadLetter) -> bool:
        origin = str(letter.properties.get(EDIT_OF, ""))
        if len(origin) != len(letter.id) or not set(origin) <= _HEX:
            return False

        async def put() -> bool:
            known = await self._row(origin)
            if known is None or known.get("editedId") != letter.id:
                return False
            await self._table.submit([Replace(failed_again(known, to_row(letter)), known.etag)])
            return True

        return await again_on_conflict(put, subject=f"the dead letter {origin}")

    async def get(self, identity: str) -> StoredLetter | None:
        """The dead letter with this id, or None."""
        row = await self._row(identity, COLUMNS)
        return None if row is None else from_row(row)

    async def starting_with(self, prefix: str, *, limit: int = 10) -> list[StoredLetter]:
        """Dead letters whose ids begin with two or more hex digits."""
        query = Query(partition=partition_of(prefix), first=prefix, end=f"{prefix}g", select=COLUMNS)
        found: list[StoredLetter] = []
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
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
            It is encrypted and can't be decrypted.
        KeysUnavailable
        """
        if letter.body_size == 0:
            return b""
        kept = await self._kept(letter.id, letter.body_blob, "body")
        return await self._clear(letter.id, kept) if letter.sealed else kept

    async def outgoing(self, letter: StoredLetter) -> Outgoing:
        """The message as a replay sends it: as operators edited it, else as it came; raises as `body` does."""
        if letter.edit is None or letter.edit.message is None:
            return Outgoing(await self.body(letter), letter.properties)
        known = await self._edits(letter)
        kept = {name: value for name, value in letter.properties.items() if not name.startswith(("claim", "sealed"))}
        properties = {**kept, **letter.edit.properties, EDIT_OF: letter.id}
        return Outgoing(base64.b64decode(known["body"]), properties)

    async def differences(self, letter: StoredLetter) -> list[Mapping[str, Any]]:
        """Every edit, oldest first: `at`, `by`, `reason` and `patch` (RFC 6902); raises as `body` does.

        They hold protected values, and are for whoever may see those.
        """
        return [] if letter.edit is None else list((await self._edits(letter))["log"])

    async def edit(
        self, letter: StoredLetter, made: Outgoing | None, entry: Mapping[str, Any], note: Note
    ) -> StoredLetter | None:
        """Keep what a replay shall send in place of the original (None: the original after all), and what differs.

        Parameters
        ----------
        entry:
            As `differences` has it.

        Returns
        -------
        None where somebody else has changed the dead letter meanwhile; nothing is kept then.
        """
        body = b"" if made is None else made.body
        log = [*await self.differences(letter), entry]
        kept = write_json({"body": base64.b64encode(body).decode(), "log": log}).encode("utf-8", "surrogatepass")
        if self._encryption is not None:
            kept = await self._encryption.encrypt_for(_edits_of(letter.id), kept)
        blob = f"{letter.id}-{hashlib.sha256(kept).hexdigest()[:16]}" if len(kept) > INLINE_BYTES else None
        if blob is not None:
            await self._bodies.put(blob, kept)
        edit = Edit(
            number=1 if letter.edit is None else letter.edit.number + 1,
            message=None if made is None else _as_its_own(letter, made),
            properties={} if made is None else _of_payload(made.properties),
            blob=blob,
            encrypted=self._encryption is not None,
        )
        columns = {**edit_columns(edit), "edit": kept if blob is None else None}
        changed = await self._changed(letter, columns, note, edit=edit)
        superseded = letter.edit.blob if letter.edit is not None else None
        await self._delete_edit(letter, blob if changed is None else superseded, note.at)
        return changed

    async def _delete_edit(self, letter: StoredLetter, blob: str | None, at: datetime) -> None:
        """Delete what an edit has superseded, or what lost; where that fails, erasure and the sweep find it."""
        if blob is None:
            return
        with suppress(AzureError):
            row = await self._row(letter.id, ("RowKey", "editBlob"))
            if row is None or row.get("editBlob") != blob:  # two edits that are the same have the same blob
                await self._bodies.delete(blob, before=at + _BLOB_GRACE)

    async def _edits(self, letter: StoredLetter) -> dict[str, Any]:
        if letter.edit is None:
            return {"body": "", "log": []}
        kept = await self._kept(letter.id, letter.edit.blob, "edit")
        text = await self._clear(_edits_of(letter.id), kept) if letter.edit.encrypted else kept
        read: dict[str, Any] = json.loads(text, parse_float=Decimal)
        return read

    async def _clear(self, owner: str, kept: bytes) -> bytes:
        if self._encryption is None:
            raise UnknownKey("The dead letter is encrypted, and the settings name no data key.")
        return await self._encryption.decrypt_for(owner, kept)

    async def message(self, letter: StoredLetter) -> bytes:
        """The message that a body holds: decrypted, where its lane had encrypted it; raises as `body` does."""
        body = await self.body(letter)
        if self._encryption is None or letter.properties.get("sealed") is None:
            return body
        return await self._encryption.decrypt(Headers.from_properties(letter.properties), body)

    async def _kept(self, identity: str, blob: str | None, column: str) -> bytes:
        if blob is not None:
            if (body := await self._bodies.get(blob)) is not None:
                return body
        elif (row := await self._row(identity, (column,))) is not None and column in row:
            return bytes(row[column])
        raise LookupError(f"the {column} of the dead letter {identity} is gone")

    async def page(self, filters: Filters, *, size: int = 100, start: Mapping[str, str] | None = None) -> LetterPage:
        """Up to `size` matching dead letters from `start` on, in the order of their ids."""
        found = await self._table.page(Query(where=filters.conditions(), select=COLUMNS, size=size), start)
        return LetterPage([from_row(row) for row in found.rows], found.next)

    async def select(self, filters: Filters) -> AsyncIterator[StoredLetter]:
        """Every matching dead letter, read page by page, in the order of their ids."""
        async for row in self._rows(filters.conditions(), COLUMNS):
            yield from_row(row)

    async def newest(self, filters: Filters, count: int) -> tuple[list[StoredLetter], int]:
        """The `count` matching dead letters that failed last, newest first, and how many match in all.

        No more than `count` are in memory at a time.
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

    async def groups(
        self, filters: Filters, *, now: datetime, by: Callable[[Mapping[str, Any]], str] = by_place
    ) -> list[Group]:
        """Matching dead letters counted by what `by` says of a row's columns, the largest group first."""
        groups: dict[str, Group] = {}
        async for row in self._rows(filters.conditions(), GROUP_COLUMNS):
            grouped_into(groups, [row], now=now, by=by)
        return sorted(groups.values(), key=lambda group: (-group.count, group.name))

    async def claims(self) -> AsyncIterator[str]:
        """The blob name of every claim that a dead letter still refers to."""
        for column in ("claim", "editedClaim"):
            async for row in self._rows([Condition(column, "gt", "")], (column,)):
                yield row[column]

    async def change(
        self,
        letter: StoredLetter,
        *,
        status: Status,
        note: Note | None = None,
        at: datetime,
        replays: int | None = None,
        archived_until: datetime | None = None,
    ) -> StoredLetter | None:
        """Set the status and note who did it; None where somebody else has changed the dead letter meanwhile."""
        count = letter.replays if replays is None else replays
        until = (archived_until or letter.archived_until) if status is Status.ARCHIVED else None
        columns = {"status": status.value, "replays": count, "changedAt": at, "archivedUntil": until}
        return await self._changed(
            letter, columns, note, status=status, replays=count, changed_at=at, archived_until=until
        )

    async def _changed(
        self, letter: StoredLetter, columns: Mapping[str, Any], note: Note | None, **fields: Any
    ) -> StoredLetter | None:
        history = (*letter.history, note) if note else letter.history
        known = await self._row(letter.id)
        if known is None or known.etag != letter.etag:
            return None
        whole = {**known, **columns, "history": history_column(history)}
        row = {name: value for name, value in whole.items() if value is not None}
        try:
            (etag,) = await self._table.submit([Replace(row, letter.etag)])
        except Conflict:
            return None
        return replace(letter, history=history, etag=etag, **fields)

    async def forget(self, letter: StoredLetter, note: Note) -> bool:
        """Delete what a dead letter's message says, and settle it for good; False where it has changed meanwhile."""
        known = await self._row(letter.id)
        if known is None or known.etag != letter.etag:
            return False
        gone = ("body", "bodyBlob", "sealed", "claim", "properties", "edit")
        kept = {name: value for name, value in known.items() if not name.startswith(gone)}
        left = Delivery(body=b"", properties=letter.properties, message_id="", sequence_number=0, delivery_count=0)
        columns = {
            "status": Status.DISCARDED.value,
            "code": ErrorCode.SUBJECT_ERASED.value,
            "reason": "The content of the message was erased.",
            "changedAt": note.at,
            "archivedUntil": None,
            "history": history_column((*letter.history, note)),
            "bodySize": 0,
            **properties_columns(left.erased().properties),
        }
        try:
            whole = {name: value for name, value in {**kept, **columns}.items() if value is not None}
            await self._table.submit([Replace(whole, letter.etag)])
        except Conflict:
            return False
        edits = [name async for name in self._bodies.starting_with(f"{letter.id}-")]
        for blob in (*([] if letter.body_blob is None else [letter.body_blob]), *edits):
            await self._bodies.delete(blob, before=note.at + _BLOB_GRACE)
        return True

    async def sweep(self, before: datetime, *, time_left: Callable[[], bool]) -> Swept:
        """Delete what failed last before `before`, and bodies that no row refers to; stop when no time is left."""
        swept = Swept()
        columns = ("PartitionKey", "RowKey", "status", "bodyBlob", "editBlob")
        query = Query(where=Filters(until=before).conditions(), select=columns, size=_PAGE)
        page = await self._table.page(query)
        while True:
            for start in range(0, len(page.rows), _SIDE_BY_SIDE):
                await _all(*(self._sweep_row(row, before, swept) for row in page.rows[start : start + _SIDE_BY_SIDE]))
                if not time_left():
                    swept.finished = False
                    return swept
            if page.next is None:
                break
            page = await self._table.page(query, page.next)
        await self._sweep_bodies(before - _BLOB_GRACE, swept, time_left)
        return swept

    async def _sweep_row(self, row: Entity, before: datetime, swept: Swept) -> None:
        try:
            await self._table.submit([Delete(row, row.etag)])
        except Conflict:  # it failed again just now, or is gone
            return
        swept.records += 1
        swept.open += row["status"] == Status.OPEN
        for blob in ("bodyBlob", "editBlob"):
            if row.get(blob):
                await self._delete_body(row[blob], before, swept)

    async def _sweep_bodies(self, before: datetime, swept: Swept, time_left: Callable[[], bool]) -> None:
        """Bodies whose row was never written, or was deleted without them: a crash came between."""
        async for name in self._bodies.older(before):
            if not time_left():
                swept.finished = False
                return
            row = await self._row(name.partition("-")[0], ("RowKey", "editBlob"))
            if row is None or name not in (row["RowKey"], row.get("editBlob")):
                await self._delete_body(name, before, swept)

    async def _delete_body(self, name: str, before: datetime, swept: Swept) -> None:
        """Only while it is old: a body that was written again a moment ago belongs to a row about to come."""
        swept.bodies += await self._bodies.delete(name, before=before)

    async def probe(self) -> None:
        """Fail with an Azure error where the table can't be reached."""
        await self._table.probe()

    async def close(self) -> None:
        """Close the HTTP sessions."""
        await self._table.close()
        await self._bodies.close()

    async def _rows(self, where: Sequence[Condition], columns: tuple[str, ...]) -> AsyncIterator[Entity]:
        async for row in self._table.query(Query(where=where, select=columns, size=_PAGE)):
            yield row

    async def _row(self, identity: str, columns: Sequence[str] = ()) -> Entity | None:
        return await self._table.get(partition_of(identity), identity, select=columns)


def _edits_of(identity: str) -> str:
    """Whose content an encrypted edit is: it can't take the place of the message that came."""
    return f"{identity}/edit"


def _of_payload(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name.startswith(("claim", "sealed"))}


def _as_its_own(letter: StoredLetter, made: Outgoing) -> str:
    """The id of the dead letter that an edited message would be, by which its failure is recognised."""
    return content_id(made.body, made.properties.get("claimSha256"), letter.message_id or "")


async def _all(*calls: Awaitable[None]) -> None:
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
