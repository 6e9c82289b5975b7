"""Fetches an issuer's documents: one session, bounded in size and time, redirected nowhere."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Fetcher"]

SECONDS = 5.0
LONGEST = 512 * 1024


class Fetcher:
    """Gets documents by HTTP; the session is made with the first."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None

    async def __call__(self, url: str) -> bytes:
        """The document behind a URL; any failure, another status or a document too long is an exception."""
        import aiohttp  # loaded with the first token

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answered {answer.status}")
            pieces: list[bytes] = []
            size = 0
            async for piece in answer.content.iter_any():
                size += len(piece)
                if size > LONGEST:
                    raise ValueError(f"{url} answered with more than {LONGEST} bytes")
                pieces.append(piece)
            return b"".join(pieces)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None
