"""Runs messages through handlers and events through projections, against one memory or a fresh one each."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel

from shared.messages import (
    Category,
    Failure,
    Handler,
    Headers,
    Integration,
    MessageError,
    Partial,
    Postpone,
    Registry,
    Reject,
    Retry,
    parse_strict,
    rfc3339,
    validate_json,
)
from shared.state import bucket_of, pack, state_key
from shared.work import Dead, Duplicate, Ended, RetryLater, Work

from .outcomes import Outcome, Retried
from .partners import AnsweringPartner, partners_of
from .recording import SOURCE, MemoryStore, RecordingWork, handle

__all__ = ["Memory", "project", "refusal", "run"]

State = Mapping[tuple[str, str], BaseModel]
Data = Mapping[str, Any] | BaseModel | str | bytes

_BUCKETS = 4096
"""As many as there may be: two aggregates hardly ever share a bucket here, so that a handler that touches a second
one fails in the test, and not in production only where the buckets differ."""


class Memory:
    """What an app remembers between messages: state, inbox and the rows of read models.

    Parameters
    ----------
    state:
        (kind, key) → model, as handlers would have saved it.
    now:
        The time of every following message; may be set anew between two of them. Without it, the present.
    others:
        Integrations that handlers send commands to. The commands are checked, not delivered: see `Outcome.sent`.
    secrets:
        Name → value of what `work.secret` gives; may be changed between two messages.
    partners:
        What answers in the place of the partners that handlers call.
    """

    def __init__(
        self,
        state: State | None = None,
        *,
        now: datetime | None = None,
        others: Iterable[Integration] = (),
        secrets: Mapping[str, str] | None = None,
        partners: Iterable[AnsweringPartner] = (),
    ) -> None:
        self.now = now
        self.secrets = dict(secrets or {})
        self._others = tuple(others)
        self.store = MemoryStore(buckets=_BUCKETS)
        self._partners = partners_of(partners, self.store, self._time)
        self._models: dict[tuple[str, str], BaseModel] = {}
        self._views: dict[tuple[str, str], BaseModel] = {}
        self._one_at_a_time = asyncio.Lock()
        for (kind, key), value in (state or {}).items():
            self._put(kind, key, value)

    @property
    def state(self) -> State:
        """(kind, key) → the model that is kept now."""
        return dict(self._models)

    @property
    def views(self) -> State:
        """(read model, key) → its row, as the integration's projections made it of what was published."""
        return dict(self._views)

    async def run(
        self,
        integration: Integration,
        event_type: str,
        data: Data,
        *,
        version: str = "1.0",
        attempt: int = 1,
        message_id: UUID | None = None,
        source: str = SOURCE,
    ) -> Outcome:
        """Deliver one message.

        Parameters
        ----------
        data:
            The message's data under its JSON names, or a model, or JSON text to be taken as it is.
        message_id:
            Give the id of an earlier message to deliver that one again.

        Raises
        ------
        UnknownEventType, UnknownVersion
            The integration has no such handler.
        """
        registry = Registry([integration, *(other for other in self._others if other is not integration)])
        handler = registry.handler(event_type, version)
        identity = message_id or uuid4()
        body = _envelope(identity, handler, data, source, self._time())
        async with self._one_at_a_time:
            try:
                parse_strict(body)
                envelope = handler.decode(body)
            except MessageError as error:
                return Outcome(message_id=identity, invalid=_as_answered(error))
            key, lane = handler.key_of(envelope.data), handler.lane_of(envelope.data)
            headers = Headers(
                message_id=identity,
                event_type=event_type,
                version=version,
                source=source,
                key=key,
                lane=lane,
                correlation_id=str(identity),
                first_attempt_at=self._time(),
                attempt=attempt,
            )
            ended = await handle(self.store, registry, headers, body, self._time, self.secrets, self._partners)
            return await self._outcome(registry, Outcome(message_id=identity, key=key, lane=lane), ended)

    async def _outcome(self, registry: Registry, nothing: Outcome, ended: Ended) -> Outcome:
        work = ended.work
        match ended.outcome:
            case Duplicate():
                return replace(nothing, duplicate=True)
            case RetryLater(failure=failure) | Dead(failure):
                return await self._undone(nothing, failure, work)
        if not isinstance(work, RecordingWork):
            raise LookupError("what is done has its work")
        self._keep(work)
        await self.store.delete(work.bucket, [row["RowKey"] for row in work.outbox_rows()])
        for event in work.events:
            before = {view: row for (view, key), row in self._views.items() if key == event.subject}
            for view, row in _rows(registry, event.type, event.data.encode(), before).items():
                if row is None:
                    self._views.pop((view, event.subject), None)
                else:
                    self._views[view, event.subject] = row
        return replace(
            nothing,
            saved=dict(work.saved),
            deleted=tuple(work.deleted),
            published=tuple(work.published),
            sent=tuple(work.sent),
            events=tuple(work.events),
            counted=tuple((counter.name, amount, by) for counter, amount, by in work.counted),
        )

    async def _undone(self, nothing: Outcome, failure: Failure, work: Work | None) -> Outcome:
        match failure.error:
            case Reject() as refused:
                return replace(nothing, rejected=refused.reason)
            case Partial() as later if isinstance(work, RecordingWork) and failure.category is Category.PARTIAL:
                if operations := work.progress():
                    await self.store.commit(work.bucket, operations)
                self._keep(work)
                kept = replace(nothing, saved=dict(work.saved), deleted=tuple(work.deleted))
                return replace(kept, retried=Retried(later.after, later.reason))
            case Postpone() as later:
                return replace(nothing, retried=Retried(later.after, later.reason))
            case Retry() as later:
                return replace(nothing, retried=Retried(later.after, later.reason))
        return replace(nothing, failed=failure)

    def _keep(self, work: RecordingWork) -> None:
        self._models |= work.saved
        for place in work.deleted:
            self._models.pop(place, None)

    def _put(self, kind: str, key: str, value: BaseModel) -> None:
        columns = {"kind": kind, "key": key, **pack(value.model_dump_json(by_alias=True))}
        self.store.put(bucket_of(key, self.store.buckets), state_key(kind, key), columns)
        self._models[kind, key] = value

    def _time(self) -> datetime:
        return self.now or datetime.now(UTC)


async def run(
    integration: Integration,
    event_type: str,
    data: Data,
    *,
    state: State | None = None,
    now: datetime | None = None,
    others: Iterable[Integration] = (),
    secrets: Mapping[str, str] | None = None,
    partners: Iterable[AnsweringPartner] = (),
    version: str = "1.0",
    attempt: int = 1,
    message_id: UUID | None = None,
) -> Outcome:
    """Deliver one message to a memory of its own; see `Memory` for the parameters, and for more messages than one."""
    memory = Memory(state, now=now, others=others, secrets=secrets, partners=partners)
    return await memory.run(integration, event_type, data, version=version, attempt=attempt, message_id=message_id)


def refusal(integration: Integration, event_type: str, data: Data, *, version: str = "1.0") -> Mapping[str, Any] | None:
    """The `error` that the API answers to this data with (code, message, details), or None where it takes it.

    Raises
    ------
    UnknownEventType, UnknownVersion
        The integration has no such handler.
    """
    handler = Registry([integration]).handler(event_type, version)
    body = _envelope(uuid4(), handler, data, SOURCE, datetime.now(UTC))
    try:
        parse_strict(body)
        handler.decode(body)
    except MessageError as error:
        return _as_answered(error)
    return None


def project(
    integration: Integration, event_type: str, data: Data, *, before: Mapping[str, BaseModel] | None = None
) -> dict[str, BaseModel | None]:
    """The rows that an event makes, by read model; the event travels as JSON, as it does in the app.

    Parameters
    ----------
    before:
        By read model the row so far, for projections that take it. A row that the event deletes comes back as None.

    Raises
    ------
    LookupError
        The integration shows no such event.
    """
    rows = _rows(Registry([integration]), event_type, _json(data), before or {})
    if not rows:
        raise LookupError(f"{integration.name} has no projection of {event_type!r}")
    return rows


def _rows(
    registry: Registry, event_type: str, data: bytes, before: Mapping[str, BaseModel]
) -> dict[str, BaseModel | None]:
    rows: dict[str, BaseModel | None] = {}
    for projection in registry.projections(event_type):
        event = validate_json(projection.model.model_validate_json, data)
        so_far = (rows.get(projection.view, before.get(projection.view)),) if projection.folds else ()
        rows[projection.view] = projection.call(event, *so_far)
    return rows


def _envelope(message_id: UUID, handler: Handler, data: Data, source: str, now: datetime) -> bytes:
    """The bytes that would travel; the data goes in as it is, so that malformed text stays malformed."""
    head = {
        "messageId": str(message_id),
        "timestamp": rfc3339(now),
        "source": source,
        "eventType": handler.event_type,
        "version": handler.version,
    }
    return json.dumps(head)[:-1].encode() + b',"data":' + _json(data) + b"}"


def _json(data: Data) -> bytes:
    if isinstance(data, BaseModel):
        return data.model_dump_json(by_alias=True).encode()
    if isinstance(data, bytes):
        return data
    text = data if isinstance(data, str) else json.dumps(data, default=_plain)
    return text.encode()


def _plain(value: Any) -> Any:
    """What a test may hold that JSON has no word for."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a message's data")


def _as_answered(error: MessageError) -> Mapping[str, Any]:
    return {"code": str(error.code), "message": error.message, "details": error.details}
