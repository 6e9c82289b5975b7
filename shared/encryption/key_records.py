"""A data key and the row that keeps it: made, wrapped, read back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from .cipher import KEY_BYTES, DataKey
from .errors import KeysUnavailable, ProtectionError
from .key_rows import KeyRow
from .wrapping import KeyWrapper, Wrapped

__all__ = ["columns_of", "created_at", "infrastructure", "make_key", "read_key", "wrapped_of"]


async def make_key(
    key_id: str, *, partition: str, row: str, wrapper: KeyWrapper, now: datetime, random_bytes: Callable[[int], bytes]
) -> tuple[DataKey, KeyRow]:
    """A new data key, and the row to keep it by."""
    secret = random_bytes(KEY_BYTES)
    wrapped = await wrapper.wrap(secret)
    return DataKey(key_id, secret), KeyRow(partition, row, {"keyId": key_id, "created": now, **columns_of(wrapped)})


def columns_of(wrapped: Wrapped) -> dict[str, str | bytes]:
    """The columns that a wrapped key takes."""
    return {"wrapped": wrapped.data, "wrappingKey": wrapped.key, "wrappingVersion": wrapped.version}


def wrapped_of(row: KeyRow) -> Wrapped | None:
    """The wrapped key of a row; None where the row keeps none."""
    columns = row.columns
    if "wrapped" not in columns:
        return None
    return Wrapped(bytes(columns["wrapped"]), str(columns["wrappingKey"]), str(columns["wrappingVersion"]))


async def read_key(row: KeyRow, wrapper: KeyWrapper) -> DataKey:
    """The data key of a row; raises UnknownKey where it can't be unwrapped for good."""
    wrapped = wrapped_of(row)
    if wrapped is None:
        raise ValueError(f"the row {row.row!r} keeps no key")
    return DataKey(str(row.columns["keyId"]), await wrapper.unwrap(wrapped))


def created_at(row: KeyRow) -> datetime:
    """When the key of a row was made."""
    moment: datetime = row.columns["created"]
    return moment


@asynccontextmanager
async def infrastructure(what: str, seconds: float) -> AsyncIterator[None]:
    """Within its seconds, and whatever is wrong with storage or vault is told as KeysUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ProtectionError:
        raise
    except Exception as error:
        raise KeysUnavailable(f"{what}: {type(error).__name__}") from error
