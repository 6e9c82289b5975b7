"""A data key for each subject: without it, nothing that was encrypted about that subject can be decrypted any more.

A subject is named by a token, never by its plain value. Its rows share a partition, so that an erasure is one
transaction: the key goes, a tombstone and an audit record come.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.resilience import BoundedCache, SingleFlight
from shared.tables import Condition
from shared.telemetry import Metrics, log_event

from .cipher import DataKey, decrypt, encrypt, encrypted_bytes, key_id_of
from .data_keys import DataKeys
from .errors import Erased, UnknownKey
from .key_rows import KeyRow, KeyTable, infrastructure, make_key, read_key
from .wrapping import KeyWrapper, Wrapped

__all__ = ["ERASED", "DataKeyWrapper", "Erasure", "Keyring", "SubjectKeys"]

ERASED = "erased~0"
"""Id of the key of what stands for an erased value: not even the id of the person's own key is left of it."""
_LIVE = "key"
_TOMBSTONE = "erased:"
_SUBJECT = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_GENERATION_BYTES = 4
_MAX_TRIES = 20
_READS_AT_ONCE = 32
_WRAPPED_BY = "data"
_WRAPPING_AAD = b"subject key"


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure that was done."""

    subject: str
    key_id: str
    at: datetime


class DataKeyWrapper:
    """Wraps under the current data key. When the vault's key changes, only the data keys are wrapped anew."""

    def __init__(self, data_keys: DataKeys) -> None:
        self._data_keys = data_keys

    async def version(self) -> str:
        """The id of the data key that wraps now."""
        return (await self._data_keys.current()).id

    async def wrap(self, secret: bytes) -> Wrapped:
        """Wrap a subject's key."""
        key = await self._data_keys.current()
        return Wrapped(encrypt(key, secret, aad=_WRAPPING_AAD), _WRAPPED_BY, key.id)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The subject's key; raises UnknownKey where no data key unwraps it."""
        if wrapped.key != _WRAPPED_BY:
            raise UnknownKey(f"The subject's key is wrapped by {wrapped.key!r}, not by a data key.")
        return decrypt(await self._data_keys.get(wrapped.version), wrapped.data, aad=_WRAPPING_AAD)


class SubjectKeys:
    """Hands out the keys of subjects, and erases them.

    Parameters
    ----------
    fresh_seconds:
        How long a key serves from memory before its row is looked at again. An erasure is effective everywhere
        within this time; the instance that erases forgets at once.
    capacity:
        Keys in memory.
    timeout:
        Seconds for a key to be read or made.
    """

    def __init__(
        self,
        rows: KeyTable,
        wrapper: KeyWrapper,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
        fresh_seconds: float = 60.0,
        capacity: int = 10_000,
        timeout: float = 10.0,
    ) -> None:
        if fresh_seconds <= 0 or capacity < 1:
            raise ValueError("fresh_seconds and capacity must be above 0")
        self._rows = rows
        self._wrapper = wrapper
        self._now = now
        self._clock = clock
        self._random_bytes = random_bytes
        self._fresh_seconds = fresh_seconds
        self._timeout = timeout
        self._cached: BoundedCache[str, DataKey] = BoundedCache(capacity, clock=clock)
        self._erased: BoundedCache[str, datetime] = BoundedCache(capacity, clock=clock)
        self._calls: SingleFlight[DataKey | None] = SingleFlight()

    async def key_for(self, subject_token: str, *, formerly: Sequence[str] = ()) -> DataKey:
        """The key of a subject, made where it has none.

        Parameters
        ----------
        formerly:
            Tokens of the same subject under earlier token keys: a key that it has under one of them goes on.

        Raises
        ------
        KeysUnavailable
            The key isn't known yet, and storage or vault is away.
        """
        for token in (subject_token, *formerly):
            found = await self.find(token)
            if found is not None:
                return found
        made = await self._calls.call(f"make {subject_token}", lambda: self._make(subject_token))
        if made is None:
            raise LookupError("a key that was just made isn't there")
        return made

    async def find(self, subject_token: str) -> DataKey | None:
        """The key of a subject, or None where it has none (yet, or any more)."""
        _checked(subject_token)
        found = self.peek_for(subject_token)
        return found or await self._calls.call(subject_token, lambda: self._load(subject_token))

    async def erased_at(self, subject_token: str) -> datetime | None:
        """When a subject was erased last, as far as it was known `fresh_seconds` ago; None where it never was."""
        await self.find(subject_token)
        return self._erased.get(subject_token)

    async def get(self, key_id: str) -> DataKey:
        """The key with an id.

        Raises
        ------
        Erased
            The subject was erased.
        UnknownKey
            There never was one, or it can't be unwrapped any more.
        KeysUnavailable
        """
        subject, _, generation = key_id.partition("~")
        if not _SUBJECT.fullmatch(subject) or not generation.isalnum():
            raise UnknownKey(f"There is no subject's key {key_id[:96]!r}.")
        found = self.peek(key_id) or await self.find(subject)
        if found is not None and found.id == key_id:
            return found
        async with infrastructure(f"the subject's key {key_id!r} can't be read now", self._timeout):
            if await self._rows.get(subject, f"{_TOMBSTONE}{generation}") is not None:
                raise Erased(f"The subject of the key {key_id!r} was erased.")
        raise UnknownKey(f"There is no subject's key {key_id!r}.")

    def peek_for(self, subject_token: str) -> DataKey | None:
        """The key of a subject, where it is in memory and fresh."""
        return self._cached.get(subject_token)

    def peek(self, key_id: str) -> DataKey | None:
        """The key with an id, where it is in memory and fresh."""
        found = self.peek_for(key_id.partition("~")[0])
        return found if found is not None and found.id == key_id else None

    async def erase(self, subject_token: str, *, by: str, reason: str) -> Erasure | None:
        """Delete the key of a subject for good; None where it has none.

        What is encrypted about it later gets a new key. The tombstone and the audit record hold the token, who and
        why, and nothing else about the subject.

        Raises
        ------
        KeysUnavailable
        """
        _checked(subject_token)
        async with infrastructure("the subject can't be erased now", self._timeout):
            for _ in range(_MAX_TRIES):
                row = await self._rows.get(subject_token, _LIVE)
                if row is None:
                    self._cached.pop(subject_token)
                    return None
                at = self._now()
                key_id = str(row.columns["keyId"])
                if await self._rows.swap(row, _traces(key_id, at=at, by=by, reason=reason)):
                    self._forget(subject_token)
                    log_event("subject erased", subject=subject_token, by=by, reason=reason)
                    return Erasure(subject_token, key_id, at)
            raise TimeoutError("the key keeps changing")

    async def erased_since(self, moment: datetime) -> frozenset[str]:
        """Ids of the keys that were erased at a moment or later.

        Raises
        ------
        KeysUnavailable
        """
        where = [Condition("erasedAt", "ge", moment)]
        async with infrastructure("erasures can't be read now", self._timeout):
            rows = self._rows.between(_TOMBSTONE, f"{_TOMBSTONE[:-1]};", where)
            return frozenset([f"{row.partition}~{row.row.removeprefix(_TOMBSTONE)}" async for row in rows])

    async def erased_among(self, key_ids: Collection[str]) -> frozenset[str]:
        """Those of some keys that were erased.

        Raises
        ------
        KeysUnavailable
        """
        slots = asyncio.Semaphore(_READS_AT_ONCE)

        async def is_erased(key_id: str) -> bool:
            subject, _, generation = key_id.partition("~")
            async with slots, infrastructure("erasures can't be read now", self._timeout):
                return await self._rows.get(subject, f"{_TOMBSTONE}{generation}") is not None

        asked = [one for one in key_ids if _SUBJECT.fullmatch(one.partition("~")[0])]
        found = await asyncio.gather(*(is_erased(one) for one in asked))
        return frozenset(one for one, erased in zip(asked, found, strict=True) if erased)

    async def note_erasure(self, subject_token: str, *, by: str, reason: str) -> None:
        """Leave the traces of an erasure of a subject that has no key, so that what waits about it isn't done either.

        Raises
        ------
        KeysUnavailable
        """
        _checked(subject_token)
        key_id = f"{subject_token}~{self._random_bytes(_GENERATION_BYTES).hex()}"
        async with infrastructure("the subject can't be erased now", self._timeout):
            for row in _traces(key_id, at=self._now(), by=by, reason=reason):
                await self._rows.create(row)
        self._forget(subject_token)

    async def ensure_erased_key(self) -> None:
        """Have whatever stands under the key `ERASED` be known as erased, to apps of any version."""
        async with infrastructure("the subject can't be erased now", self._timeout):
            subject, _, generation = ERASED.partition("~")
            await self._rows.create(KeyRow(subject, f"{_TOMBSTONE}{generation}", {"erasedAt": self._now()}))

    def _forget(self, subject: str) -> None:
        self._cached.pop(subject)
        self._erased.pop(subject)

    async def _load(self, subject: str) -> DataKey | None:
        async with infrastructure("the subject's key can't be read now", self._timeout):
            started = self._clock()
            rows = {row.row: row for row in await self._rows.of(subject)}
            if erased := [row.columns["erasedAt"] for name, row in rows.items() if name.startswith(_TOMBSTONE)]:
                self._erased.put(subject, max(erased), until=started + 2 * self._fresh_seconds)  # outlasts the key
            row = rows.get(_LIVE)
            if row is None:
                self._cached.pop(subject)
                return None
            stale = self._cached.stale(subject)
            if stale is not None and stale.id == row.columns["keyId"]:  # no vault is asked for what is known
                return self._keep(subject, stale, started)
            return self._keep(subject, await read_key(row, self._wrapper), started)

    async def _make(self, subject: str) -> DataKey | None:
        async with infrastructure("no subject's key can be made now", self._timeout):
            started = self._clock()
            key, row = await make_key(
                f"{subject}~{self._random_bytes(_GENERATION_BYTES).hex()}",
                partition=subject,
                row=_LIVE,
                wrapper=self._wrapper,
                now=self._now(),
                random_bytes=self._random_bytes,
            )
            if await self._rows.create(row):
                return self._keep(subject, key, started)
        return await self._load(subject)  # somebody was faster

    def _keep(self, subject: str, key: DataKey, since: float) -> DataKey:
        self._cached.put(subject, key, until=since + self._fresh_seconds)
        Metrics.keys_cached.set(len(self._cached), kind="subject")
        return key


def _checked(subject_token: str) -> None:
    if not _SUBJECT.fullmatch(subject_token):
        raise ValueError("a subject's token has 1 to 80 letters, digits and _.-")


def _traces(key_id: str, *, at: datetime, by: str, reason: str) -> list[KeyRow]:
    subject, _, generation = key_id.partition("~")
    audit = {"action": "erased", "keyId": key_id, "at": at, "by": by, "reason": reason}
    return [
        KeyRow(subject, f"{_TOMBSTONE}{generation}", {"erasedAt": at}),
        KeyRow(subject, f"audit:{generation}", audit),
    ]


class Keyring:
    """Data keys and subjects' keys by their ids; a subject's has a tilde in it."""

    def __init__(self, data_keys: DataKeys, subject_keys: SubjectKeys) -> None:
        self._data_keys = data_keys
        self._subject_keys = subject_keys

    async def get(self, key_id: str) -> DataKey:
        """The key with an id; raises UnknownKey, Erased or KeysUnavailable."""
        return await (self._subject_keys.get(key_id) if "~" in key_id else self._data_keys.get(key_id))

    def peek(self, key_id: str) -> DataKey | None:
        """The key with an id, where it is in memory and fresh."""
        return (self._subject_keys if "~" in key_id else self._data_keys).peek(key_id)

    async def decrypt(self, encrypted: bytes, *, aad: bytes) -> bytes:
        """The plaintext of what was encrypted with this additional authenticated data.

        Raises
        ------
        ProtectionError
            It can't be decrypted, now or later.
        KeysUnavailable
        """
        key_id = key_id_of(encrypted)
        return decrypt(self.peek(key_id) or await self.get(key_id), encrypted, aad=aad)

    async def decrypt_text(self, text: str, *, aad: bytes) -> str:
        """The text that was encrypted into a text; raises as `decrypt` does."""
        return (await self.decrypt(encrypted_bytes(text), aad=aad)).decode("utf-8", "surrogatepass")
