"""Finds out who sent a request, by its bearer token, its API key or its share token."""

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
    shares:
        The prefix of share tokens, and who holds one; None takes none. Nothing else is asked about such a token.
    """

    def __init__(
        self,
        tokens: TokenVerifier | SeveralIssuers | None,
        api_keys: Callable[[], Awaitable[ApiKeys]] | None,
        shares: tuple[bytes, Callable[[bytes], Awaitable[Caller]]] | None = None,
    ) -> None:
        self._tokens = tokens
        self._api_keys = api_keys
        self._shares = shares

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
            is_bearer, text = token[:7].lower() == b"bearer ", token[7:].strip()
            if is_bearer and self._shares is not None and text.startswith(self._shares[0]):
                return await self._shares[1](text)
            if self._tokens is None or not is_bearer:
                raise Unauthenticated(_NONE, presented=False)
            return await self._tokens.caller(text)
        if key is not None and self._api_keys is not None:
            return (await self._api_keys()).caller(key.decode("latin-1"))
        raise Unauthenticated(_NONE, presented=False)

    async def close(self) -> None:
        """Close what was opened."""
        if self._tokens is not None:
            await self._tokens.close()
