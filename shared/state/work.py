"""The unit of work: all that one message changes and says, to be committed in one transaction or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from azure.core import MatchConditions
from azure.data.tables import UpdateMode
from pydantic import BaseModel

from shared.messages import CloudEvent, Headers

from .buckets import bucket_of, partition_key
from .rows import inbox_key, outbox_key, pack, state_key, unpack
from .store import REPLACE, Operation, Row

__all__ = ["LoadRows", "Work"]

Model = TypeVar("Model", bound=BaseModel)


class LoadRows(Protocol):
    """Reads rows of a bucket: the store, or memory in a test."""

    async def __call__(self, bucket: int, row_keys: list[str]) -> dict[str, Row]:
        """The rows that exist, by row key."""
        ...


@dataclass(slots=True)
class _Loaded:
    etag: str | None


class Work:
    """What a handler gets beside its model: state of the message's aggregate, and facts to publish.

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
        fingerprint: str,
        traceparent: str | None = None,
    ) -> None:
        self.headers = headers
        self.now = now()
        self.bucket = bucket_of(headers.key, buckets)
        self._source = source
        self._load = load
        self._fingerprint = fingerprint
        self._traceparent = traceparent
        self._loaded: dict[str, _Loaded] = {}
        self._staged: dict[str, dict[str, Any] | None] = {}
        self._models: dict[str, BaseModel | None] = {}
        self.events: list[CloudEvent] = []

    async def load(self, kind: str, key: str, model: type[Model]) -> Model | None:
        """The state saved last under `kind` and `key`, or None; a later save is refused if it changed meanwhile."""
        row_key = self._row_key(kind, key)
        if row_key in self._models:
            staged = self._models[row_key]
            if staged is not None and not isinstance(staged, model):
                raise TypeError(f"{kind} {key} was saved as {type(staged).__name__}, not {model.__name__}")
            return staged
        row = (await self._load(self.bucket, [row_key])).get(row_key)
        self._loaded[row_key] = _Loaded(None if row is None else _etag(row))
        return None if row is None else model.model_validate_json(unpack(row))

    async def save(self, kind: str, key: str, value: BaseModel) -> None:
        """Keep a value as the state of `kind` and `key`; without a `load` before, it replaces what was there.

        Raises
        ------
        TooLarge
            The value doesn't fit an entity.
        ValueError
            `key` is another aggregate than the message's.
        """
        row_key = self._row_key(kind, key)
        self._staged[row_key] = {"kind": kind, "key": key, **pack(value.model_dump_json(by_alias=True))}
        self._models[row_key] = value

    async def delete(self, kind: str, key: str) -> None:
        """Forget the state of `kind` and `key`; the row must exist and is loaded first where it wasn't."""
        row_key = self._row_key(kind, key)
        if row_key not in self._loaded:
            row = (await self._load(self.bucket, [row_key])).get(row_key)
            self._loaded[row_key] = _Loaded(None if row is None else _etag(row))
        self._staged[row_key] = None
        self._models[row_key] = None

    def publish(self, event_type: str, data: BaseModel, *, version: str = "1.0") -> None:
        """Say a fact: it is published after the commit, at least once, in the order of its key."""
        self.events.append(
            CloudEvent(
                id=f"{self.headers.message_id}:{len(self.events)}",
                type=event_type,
                source=self._source,
                subject=self.headers.key,
                time=self.now,
                version=version,
                data=data.model_dump_json(by_alias=True),
                correlation_id=self.headers.correlation_id,
                traceparent=self._traceparent,
            )
        )

    def operations(self) -> list[Operation]:
        """The transaction: inbox record first, then state, then outbox rows."""
        result: list[Operation] = [("create", self.inbox_row("done"))]
        result += [self._operation(row_key, columns) for row_key, columns in self._staged.items()]
        for number, event in enumerate(self.events):
            columns = {"createdAt": self.now, "subject": event.subject, **pack(event.to_json().decode())}
            result.append(("create", self._row(outbox_key(self.headers.message_id, number), columns)))
        return [operation for operation in result if operation[0] != "skip"]

    def inbox_row(self, status: str, **more: Any) -> dict[str, Any]:
        """The record that says the message was dealt with, and how."""
        headers = self.headers
        columns = {
            "status": status,
            "lane": headers.lane.value,
            "eventType": headers.event_type,
            "version": headers.version,
            "key": headers.key,
            "attempt": headers.attempt,
            "correlationId": headers.correlation_id,
            "acceptedAt": headers.first_attempt_at,
            "processedAt": self.now,
            "payloadSha256": self._fingerprint,
        }
        return self._row(inbox_key(headers.message_id), columns | more)

    @property
    def outbox_keys(self) -> list[str]:
        """The rows to delete once their events were published."""
        return [outbox_key(self.headers.message_id, number) for number in range(len(self.events))]

    def _row_key(self, kind: str, key: str) -> str:
        if key != self.headers.key:
            raise ValueError(
                f"{kind} {key!r} belongs to another aggregate than this message ({self.headers.key!r}); "
                "one transaction holds one aggregate: send a command to the other one instead"
            )
        return state_key(kind, key)

    def _operation(self, row_key: str, columns: dict[str, Any] | None) -> Operation:
        loaded = self._loaded.get(row_key)
        guard: dict[str, Any] = {}
        if loaded is not None and loaded.etag is not None:
            guard = {"etag": loaded.etag, "match_condition": MatchConditions.IfNotModified}
        if columns is None:
            return ("delete", self._row(row_key, {}), guard) if guard else ("skip", {})
        if loaded is None:
            return ("upsert", self._row(row_key, columns), REPLACE)
        if loaded.etag is None:
            return ("create", self._row(row_key, columns))
        return ("update", self._row(row_key, columns), {"mode": UpdateMode.REPLACE, **guard})

    def _row(self, row_key: str, columns: dict[str, Any]) -> dict[str, Any]:
        return {"PartitionKey": partition_key(self.bucket), "RowKey": row_key, **columns}


def _etag(row: Row) -> str | None:
    metadata = getattr(row, "metadata", None) or {}
    etag = metadata.get("etag")
    return None if etag is None else str(etag)
