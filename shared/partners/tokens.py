"""Access tokens: asked for once by everybody who needs one, kept until shortly before their end."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from shared.resilience import RetryBudget, SingleFlight
from shared.telemetry import hide

from .auth import ClientCredentials, RefreshToken
from .errors import InvalidAnswer
from .sessions import Received, Request

__all__ = ["Token", "TokenCache", "read_token", "refusals", "token_request"]

_SPARE = 60.0
"""Seconds before its end from which a token isn't used any more; a tenth of its life where that is less."""
_USUAL_LIFE = 300.0
"""Seconds of a token whose answer doesn't say."""


class Secrets(Protocol):
    """Gives secrets: `shared.secrets.SecretCache`."""

    async def get(self, name: str) -> Any:
        """The current version."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and for how many seconds it is good."""

    value: str
    life: float

    def __repr__(self) -> str:
        return "Token(…)"


class TokenCache:
    """One token; whoever needs it while it is fetched waits for the same fetch.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetching: SingleFlight[str] = SingleFlight(clock)
        self._refusals = refusals(clock)
        self._value = ""
        self._ends = 0.0

    async def get(self) -> str:
        """A token that is good for a while."""
        value = self._value
        if not value or self._clock() >= self._ends:
            value = await self._fetching.call("token", self._renew)
        hide(value)
        return value

    def spoil(self, value: str) -> bool:
        """Use this token no more, the partner refused it; whether there is another, or may be fetched already."""
        if value == self._value:
            if not self._refusals.spend():
                return False
            self._value = ""
        return True

    async def _renew(self) -> str:
        token = await self._fetch()
        self._value = token.value
        self._ends = self._clock() + token.life - min(_SPARE, token.life / 10)
        return token.value

    async def close(self) -> None:
        """Stop a fetch under way."""
        await self._fetching.close()


def refusals(clock: Callable[[], float]) -> RetryBudget:
    """How often a refusal has a secret read or a token fetched anew: 5 times, then once in 2 seconds."""
    return RetryBudget(share=0, reserve=5, trickle=0.5, clock=clock)


async def token_request(grant: ClientCredentials | RefreshToken, secrets: Secrets) -> Request:
    """The request for a token (RFC 6749, 2.3.1, 4.4.2 and 6)."""
    fields = {"scope": grant.scope}
    if isinstance(grant, ClientCredentials):
        fields |= {"grant_type": "client_credentials", "audience": grant.audience}
        in_body = grant.in_body
    else:
        refresh = await _secret(secrets, grant.refresh_secret)
        fields |= {"grant_type": "refresh_token", "refresh_token": refresh}
        in_body = False
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    secret = await _secret(secrets, grant.secret) if grant.secret else ""
    if in_body or not secret:
        fields |= {"client_id": grant.client_id, "client_secret": secret}
    else:
        pair = f"{quote(grant.client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    body = urlencode({name: value for name, value in fields.items() if value})
    path = urlsplit(grant.token_url).path or "/"
    return Request(method="POST", path=path, endpoint="token", query={}, headers=headers, body=body.encode())


def read_token(partner: str, answer: Received) -> Token:
    """The token of an answer (RFC 6749, 5.1).

    Raises
    ------
    InvalidAnswer
        It holds none that can be used.
    """
    try:
        content = json.loads(answer.body)
        value, kind = content["access_token"], content["token_type"]
        life = float(content.get("expires_in", _USUAL_LIFE))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidAnswer(partner, "token", "answered with no token") from None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or str(kind).lower() != "bearer":
        raise InvalidAnswer(partner, "token", "answered with no bearer token")
    return Token(value, max(0.0, life))


async def _secret(secrets: Secrets, name: str) -> str:
    value = str((await secrets.get(name)).value)
    hide(value)
    return value
