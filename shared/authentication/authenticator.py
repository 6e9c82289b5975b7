"""Finds out who sent a request, by its bearer token or its API key."""

from collections.abc import Awaitable, Callable, Iterable

from .api_keys import ApiKeys
from .callers import Caller, Unauthenticated
from .tokens import SeveralIssuers, TokenVerifier

__all__ = ["Authenticator"]

_NONE = "Send a bearer token, or an API key in x-api-key."


class Authenticator:
    """Reads the headers of a request and nothing else of it.

    Parameters
    ----------
    tokens:
        Checks bearer tokens; None takes none.
    api_keys:
        The keys of the moment; None takes none.
    """

    def __init__(
        self, tokens: TokenVerifier | SeveralIssuers | None, api_keys: Callable[[], Awaitable[ApiKeys]] | None
    ) -> None:
        self._tokens = tokens
        self._api_keys = api_keys

    async def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who sent the request; names of headers are in lower case.

        Raises
        ------
        Unauthenticated
            No credential, more than one, or one that doesn't hold.
        CannotTell
            What it is checked against can't be had.
        """
        token = key = None
        for name, value in headers:
            if name == b"authorization":
                if token is not None or key is not None:
                    raise Unauthenticated("Send one credential.")
                token = value
            elif name == b"x-api-key":
                if token is not None or key is not None:
                    raise Unauthenticated("Send one credential.")
                key = value
        if token is not None:
            if self._tokens is None or token[:7].lower() != b"bearer ":
                raise Unauthenticated(_NONE, presented=False)
            return await self._tokens.caller(token[7:].strip())
        if key is not None and self._api_keys is not None:
            return (await self._api_keys()).caller(key.decode("latin-1"))
        raise Unauthenticated(_NONE, presented=False)

    async def close(self) -> None:
        """Close what was opened."""
        if self._tokens is not None:
            await self._tokens.close()
