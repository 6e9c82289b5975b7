"""Rows as they change: each is looked at again and again by a point read of its version, so that any instance can tell.

A hub has five readers in a consumer group at most, and instances come and go: following the events themselves would
give every sixth instance none.
"""

import asyncio
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from graphql import GraphQLError
from pydantic_core import from_json, to_json

from .context import MAX_KEY, Row

__all__ = ["MAX_FOLLOWED", "RowChanges"]

MAX_FOLLOWED = 20
"""Rows that one subscription follows."""
POLL_SECONDS = 2.0
_LONGEST = 8_192


class RowChanges:
    """Follows the rows of one subscription.

    Parameters
    ----------
    read:
        From view and key to the row as JSON.
    last:
        The identity that the client saw last: what it knows isn't sent again.
    sleep:
        Waits for some seconds.
    """

    def __init__(
        self,
        read: Callable[[str, str], Awaitable[bytes | None]],
        *,
        last: str = "",
        poll: float = POLL_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._read = read
        self._poll = poll
        self._sleep = sleep
        self._seen = _known(last)

    @property
    def identity(self) -> str:
        """What was sent so far of each row, as an event's id."""
        return urlsafe_b64encode(to_json(self._seen)).decode() if self._seen else ""

    def follow(self, view: str, keys: Sequence[str]) -> AsyncGenerator[Row, None]:
        """Each row as it is, unless the client knows it so, and then whenever it is another.

        Raises
        ------
        GraphQLError
            They are none, too many, or none that a row could have.
        """
        if not 1 <= len(keys) <= MAX_FOLLOWED or not all(1 <= len(key) <= MAX_KEY for key in keys):
            raise GraphQLError(
                f"Follow 1 to {MAX_FOLLOWED} keys of 1 to {MAX_KEY} characters.", extensions={"code": "BAD_REQUEST"}
            )
        asked = dict.fromkeys(keys)
        self._seen = {key: seen for key, seen in self._seen.items() if key in asked}
        return self._follow(view, list(asked))

    async def _follow(self, view: str, keys: Sequence[str]) -> AsyncGenerator[Row, None]:
        while True:
            for key in keys:
                body = await self._read(view, key)
                if body is None:
                    continue
                digest = hashlib.sha256(view.encode() + body).hexdigest()[:16]
                if self._seen.get(key) != digest:
                    self._seen[key] = digest
                    yield Row(view, key, from_json(body))
            await self._sleep(self._poll)


def _known(last: str) -> dict[str, str]:
    """What an identity says; nothing where it isn't one of ours."""
    if not last or len(last) > _LONGEST:
        return {}
    try:
        found = from_json(urlsafe_b64decode(last))
    except ValueError:
        return {}
    return {key: seen for key, seen in found.items() if isinstance(seen, str)} if isinstance(found, dict) else {}
