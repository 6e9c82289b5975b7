"""Reads read models as a caller with an access level sees them: one way for every door, HTTP or another."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from shared.classification import Classification, Tokenized
from shared.encryption import ProtectionError
from shared.messages import Registry
from shared.privacy import FieldProtection, MaskedRow, masked
from shared.state import unpack
from shared.telemetry import log_event

from .views import ReadModels, is_row

__all__ = ["MaskedPage", "ViewReader", "findable"]


class MaskedPage(NamedTuple):
    """Some rows as parsed JSON, and the key after which there may be more."""

    rows: list[Any]
    after: str | None


def findable(registry: Registry, view: str) -> dict[str, Tokenized]:
    """By JSON name the fields by which rows of a view are found."""
    return {name: marker for plan in registry.plans(view) for name, marker in plan.tokenized.items()}


class ViewReader:
    """Reads and masks the rows of all views.

    Parameters
    ----------
    fields:
        Decrypts what the level allows; without it everything is in clear, and nothing is found by a value.
    """

    def __init__(self, registry: Registry, rows: ReadModels, fields: FieldProtection | None) -> None:
        self._registry = registry
        self._rows = rows
        self._fields = fields

    async def shown(self, view: str, key: str, stored: Mapping[str, Any], *, level: Classification) -> bytes | None:
        """A row as JSON, from its columns where they were read already, or None.

        Raises
        ------
        ProtectionError, KeysUnavailable
        """
        text = unpack(stored) if is_row(stored) else await self._rows.get(view, key)
        return None if text is None else (await self.mask(view, key, text, level)).body

    async def sequence(self, view: str, key: str) -> int:
        """The number of the newest event by which a row was changed or deleted; 0 where there was none."""
        return await self._rows.sequence(view, key)

    async def find(
        self, view: str, name: str, value: str, *, level: Classification, top: int, after: str = ""
    ) -> MaskedPage | None:
        """The rows with a value in a tokenized field, up to `top` from `after` on; None where nothing is encrypted.

        One row that can't be decrypted is left out, and doesn't hide the others.

        Raises
        ------
        KeysUnavailable
        """
        if self._fields is None:
            return None
        tokens = await self._fields.candidates(findable(self._registry, view)[name], value)
        page = await self._rows.find(view, name, tokens, top=top, after=after)
        rows = []
        for key, text in page.rows:
            try:
                rows.append(from_json((await self.mask(view, key, text, level)).body))
            except ProtectionError:
                continue
        return MaskedPage(rows, page.after)

    async def still_readable(self, keys: Iterable[str]) -> bool:
        """Whether none of the keys was erased by which rows were decrypted; raises KeysUnavailable."""
        return self._fields is None or await self._fields.still_readable(keys)

    async def mask(self, view: str, key: str, text: str, level: Classification) -> MaskedRow:
        """A row's JSON as a caller with an access level sees it.

        Raises
        ------
        ProtectionError
            It can't be decrypted; the log says so too.
        KeysUnavailable
        """
        try:
            plans = self._registry.plans(view)
            return await masked(text, plans, ("view", view, key), level=level, fields=self._fields)
        except ProtectionError as failure:
            log_event("row unreadable", level=40, view=view, key=key, code=failure.code, reason=failure.message)
            raise
