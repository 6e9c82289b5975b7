"""Share tokens: long random texts that recipients hold, of which the store knows only the hashes.

A token is 256 random bits, so its plain SHA-256 can't be turned back by guessing.
"""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.authentication import Caller, CannotTell, Role, Unauthenticated
from shared.messages import rfc3339
from shared.resilience import SingleFlight
from shared.tables import Conflict, Create, Delete, Entity, Query, Replace, Table
from shared.telemetry import log_event

__all__ = ["PREFIX", "Recipient", "ShareToken", "ShareTokens", "WrongToken"]

PREFIX = "slshare_"
"""With which every token begins, so that a scanner for secrets knows it and no other check is asked."""
_PARTITION = "share-tokens"
_RECIPIENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MOST = 1_000
MOST_DAYS = 365
FRESH_SECONDS = 4.0
"""What an operator withdraws is followed by every instance within five seconds: this, and the time of a reading. While
the store is away, it is followed within `BELIEVED_SECONDS`."""
READING_SECONDS = 5.0
BELIEVED_SECONDS = 300.0
"""So long what was read is believed while the store is away."""
_KEPT = timedelta(days=90)
"""So long a token is known to have ended; then it is unknown."""


class WrongToken(ValueError):
    """A token can't be made so; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipient(Caller):
    """Who holds a share token.

    Attributes
    ----------
    shares:
        The shares that it may read, in lower case.
    sees:
        As which role it sees the data.
    """

    shares: frozenset[str]
    sees: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareToken:
    """What is known of a token; `id` names it to operators and opens nothing."""

    id: str
    recipient: str
    shares: tuple[str, ...]
    sees: Role
    made: datetime
    ends: datetime
    by: str
    reason: str
    withdrawn: datetime | None = None

    def columns(self) -> dict[str, Any]:
        """As a row has it."""
        return {
            "recipient": self.recipient,
            "shares": json.dumps(self.shares),
            "role": str(self.sees),
            "made": self.made,
            "ends": self.ends,
            "by": self.by[:200],
            "reason": self.reason[:1_000],
            **({} if self.withdrawn is None else {"withdrawn": self.withdrawn}),
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "ShareToken":
        """As it was written; raises ValueError or KeyError where somebody else wrote the row."""
        return cls(
            id=str(row["RowKey"])[:16],
            recipient=str(row["recipient"]),
            shares=tuple(json.loads(row["shares"])),
            sees=Role(row["role"]),
            made=row["made"],
            ends=row["ends"],
            by=str(row["by"]),
            reason=str(row["reason"]),
            withdrawn=row.get("withdrawn"),
        )


class ShareTokens:
    """The tokens, a row each; an instance reads them when it is asked, and at most every few seconds.

    All at once: no flood of invented tokens makes a call of its own.
    """

    def __init__(
        self, table: Table, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._now = now
        self._clock = clock
        self._known: dict[bytes, ShareToken] = {}
        self._fresh_until = self._believed_until = float("-inf")
        self._reading: SingleFlight[None] = SingleFlight(clock)

    async def caller(self, token: bytes) -> Recipient:
        """Who holds a token.

        Raises
        ------
        Unauthenticated
            Nobody does, or it has ended.
        CannotTell
            The tokens can't be read, and couldn't for too long.
        """
        if self._clock() >= self._fresh_until:
            await self._reading.call(_PARTITION, self._read)
        if self._clock() >= self._believed_until:
            raise CannotTell("Share tokens can't be checked just now.", retry_after=2)
        found = self._known.get(hashlib.sha256(token).digest())
        if found is None:
            raise Unauthenticated("The share token isn't known.")
        if found.withdrawn is not None:
            raise Unauthenticated(f"The share token was withdrawn at {rfc3339(found.withdrawn)}.")
        if found.ends <= self._now():
            raise Unauthenticated(f"The share token ended at {rfc3339(found.ends)}. Ask for a new profile file.")
        return Recipient(
            f"share:{found.recipient}",
            frozenset({Role.RECIPIENT}),
            frozenset(share.lower() for share in found.shares),
            found.sees,
        )

    async def _read(self) -> None:
        began = self._clock()
        try:
            async with asyncio.timeout(READING_SECONDS):
                self._known = {bytes.fromhex(str(row["RowKey"])): token async for row, token in self._rows()}
            self._believed_until = began + BELIEVED_SECONDS
        except Exception as error:
            log_event("share tokens not read", level=logging.WARNING, error=error)
        self._fresh_until = began + FRESH_SECONDS

    async def _rows(self) -> AsyncIterator[tuple[Entity, ShareToken]]:
        async for row in self._table.query(Query(partition=_PARTITION)):
            try:
                token = ShareToken.of(row)
            except (KeyError, ValueError, TypeError) as error:  # one wrong row mustn't lock everybody out
                log_event("share token not read", level=logging.ERROR, token=str(row["RowKey"])[:16], error=error)
            else:
                yield row, token

    async def all(self) -> list[ShareToken]:
        """Every token, the newest first."""
        return sorted([token async for _, token in self._rows()], key=lambda one: one.made, reverse=True)

    async def add(
        self, token: str, *, recipient: str, shares: Collection[str], sees: Role, days: int, by: str, reason: str
    ) -> ShareToken:
        """Know a new token from now on; those that ended long ago are forgotten.

        Raises
        ------
        WrongToken
        """
        if _RECIPIENT.fullmatch(recipient) is None:
            raise WrongToken("a recipient is called by 1 to 64 of a-z, 0-9, dot, _ and -")
        if sees not in (Role.READER, Role.OPERATOR):
            raise WrongToken("a recipient sees what a reader or an operator does")
        if not shares:
            raise WrongToken("name at least one share")
        if not 1 <= days <= MOST_DAYS:
            raise WrongToken(f"a token lives 1 to {MOST_DAYS} days")
        now = self._now()
        known = await self.all()
        forgotten = [one for one in known if one.ends < now - _KEPT]
        for old in forgotten:
            await self._delete(old.id)
        if len(known) - len(forgotten) >= MOST:
            raise WrongToken(f"there are {MOST} tokens already")
        digest = hashlib.sha256(token.encode()).hexdigest()
        made = ShareToken(
            id=digest[:16],
            recipient=recipient,
            shares=tuple(sorted(shares)),
            sees=sees,
            made=now,
            ends=now + timedelta(days=days),
            by=by,
            reason=reason,
        )
        await self._table.submit([Create({"PartitionKey": _PARTITION, "RowKey": digest, **made.columns()})])
        log_event("share token made", token=made.id, recipient=recipient, by=by)
        return made

    async def withdraw(self, what: str) -> list[ShareToken]:
        """End a token by its id, or all tokens of a recipient that haven't ended; those are returned."""
        done = []
        async for row, token in self._rows():
            if what in (token.id, token.recipient) and token.withdrawn is None:
                await self._table.submit([Replace({**row, "withdrawn": self._now()}, row.etag)])
                log_event("share token withdrawn", token=token.id, recipient=token.recipient)
                done.append(token)
        return done

    async def _delete(self, token: str) -> None:
        async for row in self._table.query(Query(partition=_PARTITION, first=token, end=f"{token}g")):
            try:
                await self._table.submit([Delete(row, row.etag)])
            except Conflict:  # somebody else deleted it
                continue

    async def close(self) -> None:
        """Stop a reading that is in progress."""
        await self._reading.close()
