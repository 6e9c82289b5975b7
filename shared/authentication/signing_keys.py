"""The issuer's signing keys: fetched once for all, used while it is down, asked for again at a bounded rate."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.messages import MessageError, parse_strict
from shared.resilience import Call, SingleFlight, TokenBucket
from shared.telemetry import log_event

from .callers import CannotTell, Unauthenticated

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Fetcher", "SigningKey", "SigningKeys", "signing_keys_of"]

FRESH = 120.0
"""Seconds after which the keys are fetched again, behind the requests."""
OLD = 240.0
"""Seconds after which a request waits for that, as long as the issuer answers."""
BELIEVED = 300.0
"""Seconds for which a key is believed after the issuer named it, as long as the issuer answers."""
FAILED = 30.0
"""Seconds after a fetch that failed in which nobody waits for the next one."""
KEPT = 86_400.0
PAUSE = 5.0
"""Seconds that a fetch has to be earned by: a flood of unknown key ids costs no more than this."""
BURST = 3
"""Fetches that may follow each other at once: an issuer's key that changes twice in a moment fails nobody."""
FIRST_PAUSE = 1.0
"""Seconds between two fetches while there have never been any keys."""
MOST_KEYS = 100
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
_SMALLEST_RSA = 2_048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key with the one algorithm that it verifies: a token can't choose another."""

    algorithm: str
    key: Any


class SigningKeys:
    """The keys of one issuer.

    Parameters
    ----------
    issuer:
        Its exact name; the discovery document must say the same.
    jwks_uri:
        Where the keys are; None asks the issuer's discovery document (OpenID Connect Discovery 1.0).
    fetch:
        The body behind a URL, bounded in size and time. Any exception means that it can't be had just now.
    kept_seconds:
        How long the known keys stay valid while the issuer doesn't answer.
    """

    def __init__(
        self,
        issuer: str,
        jwks_uri: str | None,
        fetch: Callable[[str], Awaitable[bytes]],
        *,
        kept_seconds: float = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept_seconds = kept_seconds
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._fetched = self._failed = -math.inf
        self._paid = TokenBucket(capacity=BURST, rate=1 / PAUSE, clock=clock)
        self._first = TokenBucket(capacity=1, rate=1 / FIRST_PAUSE, clock=clock)
        self._fetching: SingleFlight[None] = SingleFlight(clock)

    @property
    def age(self) -> float:
        """Seconds since the issuer named the keys; infinite where it never has."""
        return self._clock() - self._fetched

    @property
    def kept_for(self) -> float:
        """Seconds for which the known keys stay valid if the issuer doesn't answer any more."""
        return max(0.0, self._kept_seconds - self.age)

    @property
    def believed_for(self) -> float:
        """Seconds for which a token that holds now may be believed without looking at it again."""
        return max(0.0, BELIEVED - self.age)

    async def ask(self, seconds: float) -> bool:
        """Fetch the keys now, for so many seconds at most; whether the issuer answered.

        Where it is too early for a fetch of its own, the last one tells.
        """
        before = self._fetched
        if (fetching := self._refresh()) is None:
            return self._fetched > self._failed
        await fetching.wait(seconds)
        return self._fetched > before

    async def get(self, kid: str) -> SigningKey:
        """The key of an id. A known one waits only where the issuer wasn't asked for long, and answered the last time.

        Raises
        ------
        Unauthenticated
            The issuer has no such key, or was asked a moment ago.
        CannotTell
            There have never been any keys, or too long ago, and the issuer doesn't answer.
        """
        found = self._keys.get(kid)
        if found is None or self.age >= FRESH:
            fetching = self._refresh()
            failed_lately = self._clock() - self._failed < FAILED
            if fetching is not None and (found is None or (self.age >= OLD and not failed_lately)):
                await fetching.wait()
                found = self._keys.get(kid)
        if not self._keys or self.kept_for <= 0:
            wait = max(1, math.ceil(self._first.wait()))
            raise CannotTell("Tokens can't be checked just now.", retry_after=wait)
        if found is None:
            raise Unauthenticated("The token is signed with a key that isn't the issuer's.")
        return found

    def _refresh(self) -> Call[None] | None:
        """The fetch in progress, a new one, or None where it is too early for one."""
        fetching = self._fetching.get(self._issuer)
        if fetching is None and (self._paid if self._keys else self._first).take():
            return self._fetching.start(self._issuer, self._fetch_keys)
        return fetching

    async def _fetch_keys(self) -> None:
        began = self._clock()
        try:
            if self._jwks_uri is None:
                discovery = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                self._jwks_uri = _jwks_uri(discovery, self._issuer)
            self._keys = signing_keys_of(await self._fetch(self._jwks_uri))
            self._fetched = began
        except Exception as failure:  # whatever it was: what is known stays, and it is tried again
            self._failed = self._clock()
            log_event(
                "signing keys not had", level=logging.WARNING, reason=f"{type(failure).__name__}: {failure}"[:300]
            )

    async def close(self) -> None:
        """Stop a fetch that is in progress."""
        await self._fetching.close()


def signing_keys_of(document: bytes) -> dict[str, SigningKey]:
    """The usable keys of a JWK Set (RFC 7517) by their ids; others are left out.

    Raises
    ------
    ValueError
        It isn't one, or holds no usable key.
    """
    import jwt  # loaded with the first token

    entries = _object(document).get("keys")
    if not isinstance(entries, list):
        raise ValueError("not a JWK Set")
    keys: dict[str, SigningKey] = {}
    for entry in entries[:MOST_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        kid, curve = entry.get("kid"), entry.get("crv")
        algorithm = _ALGORITHMS.get((str(entry.get("kty")), curve if isinstance(curve, str) else None))
        if not isinstance(kid, str) or not kid or algorithm is None or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if algorithm == "ES256" or key.key_size >= _SMALLEST_RSA:
            keys.setdefault(kid, SigningKey(algorithm, key))
    if not keys:
        raise ValueError("the JWK Set holds no usable key")
    return keys


def _jwks_uri(document: bytes, issuer: str) -> str:
    discovery = _object(document)
    uri = discovery.get("jwks_uri")
    if discovery.get("issuer") != issuer or not isinstance(uri, str):
        raise ValueError("the discovery document is that of another issuer")
    if issuer.startswith("https://") and not uri.startswith("https://"):
        raise ValueError("the discovery document names keys without HTTPS")
    return uri


def _object(document: bytes) -> dict[str, Any]:
    try:
        parsed = parse_strict(document)
    except MessageError as wrong:
        raise ValueError(wrong.message) from None
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


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
