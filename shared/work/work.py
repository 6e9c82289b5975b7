"""The unit of work: all that one message changes and emits, committed in one transaction or not at all."""

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf, isfinite
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from shared.blobs import BlobMissing, BlobReference, ValueStore
from shared.classification import plan_of
from shared.messages import CloudEvent, Headers, Lane, OutgoingCommand, PayloadHash
from shared.partners import Caller, Calls, Partner, PartnerModel, Partners
from shared.privacy import FieldProtection, clear_text
from shared.secrets import Secret, UnknownSecret
from shared.state import (
    Row,
    TooLarge,
    bucket_of,
    inbox_key,
    inbox_row,
    outbox_key,
    pack,
    partition_key,
    sequence_key,
    state_key,
    unpack,
)
from shared.tables import Create, Delete, Operation, Replace, Upsert, etag_of
from shared.telemetry import BusinessCounter, hide, redact
from shared.telemetry import Counter as MetricCounter

__all__ = ["Aggregate", "LoadRows", "Secrets", "Work"]

_RACES = 3

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")


LoadRows = Callable[[int, list[str]], Awaitable[dict[str, Row]]]
"""Gives the rows of a bucket that exist, by row key: the store, or memory in a test."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """What was known of a message's aggregate before its handler ran.

    Attributes
    ----------
    sequence, events, etag:
        How much was emitted, how many of it are events, and the sequence row's ETag; None where there is none yet.
    unpublished:
        Outbox rows of the aggregate, left by a crash or still on their way: they go before what is emitted now.
    replayed:
        ETag of the inbox row that is replaced: an operator opened it again for a replay.
    former_id:
        Under this id too there is to be an inbox row: for the release before, which knows an event by it.
    """

    sequence: int = 0
    events: int = 0
    etag: str | None = None
    unpublished: Sequence[Row] = field(default=())
    replayed: str | None = None
    former_id: UUID | None = None


class Secrets(Protocol):
    """Gives secrets: `shared.secrets.SecretCache`."""

    async def get(self, name: str) -> Secret:
        """The current version; raises SecretError."""
        ...


class Work:
    """What a handler gets beside its model: state of the message's aggregate, events to publish, commands to send.

    Nothing is written before the handler has returned. A handler may run again when its commit met a conflict,
    so it should do its work through this object only.
    """

    def __init__(
        self,
        *,
        headers: Headers,
        buckets: int,
        source: str,
        load: LoadRows,
        now: Callable[[], datetime],
        payload_hash: PayloadHash,
        aggregate: Aggregate | None = None,
        address: Callable[[str, str, BaseModel], OutgoingCommand] | None = None,
        values: ValueStore | None = None,
        fields: FieldProtection | None = None,
        secrets: Secrets | None = None,
        partners: Partners | None = None,
        deadline: float = inf,
        traceparent: str | None = None,
    ) -> None:
        self.headers = headers
        self.now = now()
        self.bucket = bucket_of(headers.key, buckets)
        self.aggregate = aggregate or Aggregate()
        self._clock = now
        self._source = source
        self._buckets = buckets
        self._load = load
        self._payload_hash = payload_hash
        self._address = address
        self._values = values
        self._fields = fields
        self._secrets = secrets
        self._partners = partners
        self._deadline = deadline
        self._calls: Counter[str] = Counter()
        self._traceparent = traceparent
        self._loaded: dict[str, str | None] = {}
        self._staged: dict[str, dict[str, Any] | None] = {}
        self._models: dict[str, BaseModel | None] = {}
        self._operations: list[Operation] | None = None
        self._outbox: list[dict[str, Any]] | None = None
        self._plain: dict[int, BaseModel | OutgoingCommand] = {}
        self._encrypted_commands: dict[int, str] = {}
        self.emitted: list[CloudEvent | OutgoingCommand] = []
        self.counted: list[tuple[MetricCounter, float, dict[str, str]]] = []

    async def secret(self, name: str) -> Secret:
        """A secret of the key vault, such as a partner's key; warm, it costs a look-up.

        Ask for it where it is used, so that a new version is noticed. Until the handler has returned, its value is kept
        out of log lines, spans, dead letters and errors, as protected fields are.

        Raises
        ------
        SecretError
            The vault doesn't have it, or doesn't answer and nothing is cached. Let it pass: the message is tried again.
        """
        if self._secrets is None:
            raise UnknownSecret(name, "the app has no key vault: set KeyVault__vaultUri")
        secret = await self._secrets.get(name)
        hide(secret.value)
        return secret

    def call(
        self, partner: Partner, *, region: str | None = None, tier: str | None = None, customer: str | None = None
    ) -> Calls:
        """Calls to somebody else's system, for example `await work.call(carrier).post("/labels", Label, body)`.

        They are made at once, not with the commit, and a handler may run again: each has a key that a re-run repeats.
        What a partner's models hold is for the handler alone; save and publish models of your own. A partner that has
        several targets is called at the one for a region, tier or customer.

        Raises
        ------
        UnknownTarget
            The partner has none for that region, tier or customer.
        LookupError
            The partner isn't declared, or nobody says where it is.
        """
        if self._partners is None:
            raise LookupError("this unit of work has no partners to call")
        caller = Caller(
            message_id=self.headers.message_id,
            correlation_id=self.headers.correlation_id,
            bucket=self.bucket,
            deadline=self._deadline,
            batch=self.headers.lane is Lane.LOW,
            traceparent=self._traceparent,
        )
        return self._partners.calls(partner, caller, self._calls, region=region, tier=tier, customer=customer)

    async def gather(self, *calls: Awaitable[T], limit: int = 16) -> list[T]:
        """The results of many calls, in their order, of which `limit` run side by side.

        The first error ends those that are left, and is raised.
        """
        if isinstance(limit, bool) or limit < 1:
            raise ValueError(f"gather(limit={limit}): must be 1 or more")
        places = asyncio.Semaphore(limit)

        async def one(call: Awaitable[T]) -> T:
            async with places:
                return await call

        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for call in calls:
                if inspect.iscoroutine(call):
                    call.close()  # one that never began

    async def load(self, kind: str, key: str, model: type[Model]) -> Model | None:
        """The state saved last under `kind` and `key`, or None; a later save is refused if it changed meanwhile."""
        row_key = self._row_key(kind, key)
        if row_key in self._models:
            staged = self._models[row_key]
            if staged is not None and not isinstance(staged, model):
                raise TypeError(f"{kind} {key} was saved as {type(staged).__name__}, not {model.__name__}")
            return staged
        row = await self._read(row_key)
        for _ in range(_RACES):
            if row is None:
                return None
            reference = BlobReference.from_columns(row)
            if reference is None:
                return model.model_validate_json(await self._clear(unpack(row), kind, key, model))
            if self._values is None:
                break
            try:
                text = await self._values.get_value(reference)
            except BlobMissing:  # the row was replaced, and its old value swept, while it was read
                row = await self._read(row_key)
            else:
                return model.model_validate_json(await self._clear(text, kind, key, model))
        raise LookupError(f"the large value of {kind} {key!r} can't be read")

    async def save(self, kind: str, key: str, value: BaseModel) -> None:
        """Keep a value as the state of `kind` and `key`; without a `load` before, it replaces what was there.

        Raises
        ------
        TooLarge
            The value doesn't fit an entity, and there is no storage for large values.
        ValueError
            `key` is another aggregate than the message's.
        """
        row_key = self._row_key(kind, key)
        self._changed(value)
        self._staged[row_key] = {"kind": kind, "key": key, **await self._columns(row_key, kind, key, value)}
        self._models[row_key] = value

    async def _clear(self, text: str, kind: str, key: str, model: type[BaseModel]) -> str:
        if self._fields is None:
            return clear_text(text, model)
        return await self._fields.decrypt(text, model, ("state", kind, key))

    async def _columns(self, row_key: str, kind: str, key: str, value: BaseModel) -> dict[str, Any]:
        """The value in the entity's own columns, or where it is too large a reference to a blob that is put first."""
        if self._fields is None:
            text = value.model_dump_json(by_alias=True)
        else:
            text = (await self._fields.encrypt(value, ("state", kind, key))).text
        try:
            return pack(text)
        except TooLarge:
            if self._values is None:
                raise
            return (await self._values.put_value(f"{self.bucket}/{row_key}", text)).columns()

    async def delete(self, kind: str, key: str) -> None:
        """Forget the state of `kind` and `key`; nothing happens where there is none."""
        row_key = self._row_key(kind, key)
        if row_key not in self._loaded:
            await self._read(row_key)
        self._changed()
        self._staged[row_key] = None
        self._models[row_key] = None

    def publish(self, event_type: str, data: BaseModel, *, version: str = "1.0") -> None:
        """Emit an event: it is published after the commit, at least once, in the order of its key."""
        self._changed(data)
        protected = self._fields is not None and plan_of(type(data)).protects
        if protected:
            self._plain[len(self.emitted)] = data
        self.emitted.append(
            CloudEvent(
                id=f"{self.headers.message_id}:{len(self.emitted)}",
                type=event_type,
                source=self._source,
                subject=self.headers.key,
                time=self.now,
                version=version,
                data="null" if protected else data.model_dump_json(by_alias=True),
                correlation_id=self.headers.correlation_id,
                sequence=self.aggregate.events + len(self.events) + 1,
                traceparent=self._traceparent,
            )
        )

    def send(self, event_type: str, data: BaseModel, *, version: str = "1.0") -> None:
        """Send another command, of this aggregate or any other: it leaves through the outbox, and is done once.

        Raises
        ------
        UnknownEventType, UnknownVersion, InvalidMessage
            No integration takes that command, or not like this.
        """
        if self._address is None:
            raise RuntimeError("this unit of work has no registry to address commands with")
        command = self._address(event_type, version, data)
        self._changed(data)
        command = command.follow(self.headers, number=len(self.emitted), traceparent=self._traceparent)
        if self._fields is not None:
            self._plain[len(self.emitted)] = command
        self.emitted.append(command)

    def count(self, counter: BusinessCounter, amount: float = 1, **attributes: object) -> None:
        """Count something of the business, once this message is done: a failed attempt and a duplicate count nothing.

        Parameters
        ----------
        counter:
            What `Integration.counts` gave.
        attributes:
            Those that the counter is declared with. Protected values of the message are left out of them.

        Raises
        ------
        ValueError
            The amount is negative or no number, or the attributes aren't those of the counter.
        """
        if not (isfinite(amount) and amount >= 0):
            raise ValueError(f"{counter.counter.name} can't count {amount!r}: use a number of 0 or more")
        if attributes.keys() != set(counter.by):
            raise ValueError(f"{counter.counter.name} is counted by {', '.join(counter.by) or 'nothing'}")
        texts = {name: str(attributes[name]) for name in counter.by}
        if counter.counter.is_on:
            texts = {name: redact(text) for name, text in texts.items()}
        self.counted.append((counter.counter, float(amount), texts))

    async def encrypt(self) -> None:
        """Encrypt what was emitted, once the handler has returned: before that, nothing of it can be committed."""
        if self._fields is None or not self._plain:
            return
        self._changed()
        for number, content in self._plain.items():
            event = self.emitted[number]
            if isinstance(content, OutgoingCommand):
                aad = ("outbox", self._outbox_key(number))
                text = content.to_json().decode()
                self._encrypted_commands[number] = await self._fields.encrypt_whole(text, aad)
            elif isinstance(event, CloudEvent):
                encrypted = await self._fields.encrypt(content, ("event", event.id, event.type))
                self.emitted[number] = replace(event, data=encrypted.text)
        self._plain.clear()

    @property
    def events(self) -> list[CloudEvent]:
        """The events that were emitted, in order."""
        return [one for one in self.emitted if isinstance(one, CloudEvent)]

    def operations(self) -> list[Operation]:
        """The transaction: inbox row first, then state, then the sequence and what is to be published.

        It is made once; a save or an event after that makes it anew.
        """
        if self._operations is None:
            self._operations = self._make_operations()
        return self._operations

    def _make_operations(self) -> list[Operation]:
        result: list[Operation] = [*self._inbox_operations(), *self.progress()]
        if self.emitted:
            result.append(self._sequence_operation())
            result += [Create(row) for row in self.outbox_rows()]
        return result

    def progress(self) -> list[Operation]:
        """The state alone, for a message that is only partly done: no inbox row, nothing emitted."""
        return [
            operation
            for row_key, columns in self._staged.items()
            if (operation := self._operation(row_key, columns)) is not None
        ]

    def outbox_rows(self) -> list[dict[str, Any]]:
        """One row for each event and command."""
        if self._outbox is None:
            self._outbox = self._make_outbox()
        return self._outbox

    def _outbox_key(self, number: int) -> str:
        return outbox_key(self.headers.key, self.aggregate.sequence + 1 + number)

    def _make_outbox(self) -> list[dict[str, Any]]:
        if self._plain:
            raise LookupError("what was emitted isn't encrypted yet")
        return [
            self._row(
                self._outbox_key(number),
                {
                    "kind": "event" if isinstance(one, CloudEvent) else "command",
                    "subject": self.headers.key,
                    "messageId": str(self.headers.message_id),
                    "createdAt": self.now,
                    **pack(self._encrypted_commands.get(number) or one.to_json().decode()),
                },
            )
            for number, one in enumerate(self.emitted)
        ]

    def _changed(self, value: BaseModel | None = None) -> None:
        """Make the transaction anew. A partner's models end at the boundary: what is committed changes with none."""
        if isinstance(value, PartnerModel):
            raise TypeError(f"{type(value).__name__} is a partner's model: save, publish and send models of your own")
        self._operations = self._outbox = None

    def _inbox_operations(self) -> list[Operation]:
        row = inbox_row(self.headers, "done", buckets=self._buckets, payload_hash=self._payload_hash, now=self._clock())
        if self.events:  # by which a reader knows that a view has them
            row["published"] = json.dumps({event.type: event.sequence for event in self.events})
        operations: list[Operation] = [
            Create(row) if self.aggregate.replayed is None else Replace(row, self.aggregate.replayed)
        ]
        if self.aggregate.former_id is not None:
            alias = {"RowKey": inbox_key(self.aggregate.former_id), "aliasOf": str(self.headers.message_id)}
            operations.append(Create({**row, **alias}))
        return operations

    def _sequence_operation(self) -> Operation:
        counts = {
            "sequence": self.aggregate.sequence + len(self.emitted),
            "facts": self.aggregate.events + len(self.events),
        }
        row = self._row(sequence_key(self.headers.key), counts)
        return Create(row) if self.aggregate.etag is None else Replace(row, self.aggregate.etag)

    def _operation(self, row_key: str, columns: dict[str, Any] | None) -> Operation | None:
        loaded = row_key in self._loaded
        etag = self._loaded.get(row_key)
        if columns is None:
            return None if etag is None else Delete(self._row(row_key, {}), etag)
        row = self._row(row_key, columns)
        if not loaded:
            return Upsert(row)
        return Create(row) if etag is None else Replace(row, etag)

    async def _read(self, row_key: str) -> Row | None:
        row = (await self._load(self.bucket, [row_key])).get(row_key)
        self._loaded[row_key] = None if row is None else etag_of(row)
        return row

    def _row_key(self, kind: str, key: str) -> str:
        if key != self.headers.key:
            raise ValueError(
                f"{kind} {key!r} belongs to another aggregate than this message ({self.headers.key!r}); "
                "one transaction holds one aggregate: send a command to the other one instead"
            )
        return state_key(kind, key)

    def _row(self, row_key: str, columns: dict[str, Any]) -> dict[str, Any]:
        return {"PartitionKey": partition_key(self.bucket), "RowKey": row_key, **columns}
