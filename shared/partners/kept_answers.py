"""Answers that are written down before the handler goes on, so that a run after a crash finds them.

Between the partner's answer and its row only the idempotency key protects: who dies there calls again, with the same
one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel

from shared.privacy import FieldProtection, clear_text
from shared.state import StateStore, call_key, pack, partition_key, unpack
from shared.tables import Conflict, Create

__all__ = ["KeptAnswers"]

M = TypeVar("M", bound=BaseModel)


class KeptAnswers:
    """Rows of answers beside the inbox row of their message, kept as long as that; protected fields are encrypted."""

    def __init__(self, store: StateStore, fields: FieldProtection | None, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._fields = fields
        self._now = now

    async def find(self, bucket: int, message_id: UUID, call: str, model: type[M]) -> M | None:
        """The answer that a former run of the message got to this call."""
        key = call_key(message_id, call)
        row = (await self._store.find(bucket, [key])).get(key)
        if row is None:
            return None
        text = unpack(row)
        if self._fields is None:
            return model.model_validate_json(clear_text(text, model))
        return model.model_validate_json(await self._fields.decrypt(text, model, ("call", key)))

    async def keep(self, bucket: int, message_id: UUID, call: str, value: M) -> M:
        """Write an answer down; where another run was first, its answer counts.

        Raises
        ------
        TooLarge
            It doesn't fit a row.
        """
        key = call_key(message_id, call)
        if self._fields is None:
            text = value.model_dump_json(by_alias=True)
        else:
            text = (await self._fields.encrypt(value, ("call", key))).text
        row = {"PartitionKey": partition_key(bucket), "RowKey": key, "keptAt": self._now(), **pack(text)}
        try:
            await self._store.commit(bucket, [Create(row)])
        except Conflict:
            return await self.find(bucket, message_id, call, type(value)) or value
        return value
