"""What adds to a request the proof of who sends it, and what helps when the partner doesn't believe it."""

import asyncio
import base64
import hashlib
import hmac
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from shared.http_signatures import SignatureRefused, SignedRequest
from shared.resilience import RetryBudget
from shared.secrets import Secret, UnknownSecret
from shared.telemetry import hide

from .auth import (
    ApiKey,
    Authentication,
    Basic,
    ClientCredentials,
    HmacSigned,
    ManagedIdentity,
    MessageSigned,
    MutualTls,
    RefreshToken,
)
from .errors import PartnerError
from .sessions import Received, Request, Session
from .tokens import Token, TokenCache, read_token, refusals, token_request

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["Authenticators", "Certificates", "Means", "Proofs", "Secrets"]


class Proofs(NamedTuple):
    """The secrets and tokens of a request, in the order of what asks for them, and the TLS context of a certificate."""

    values: Sequence[str] = ()
    identity: ssl.SSLContext | None = None


Guarded = Callable[[str, Callable[[], Awaitable[Received]]], Awaitable[Received]]
"""Sends a request to a class of endpoints on a call's behalf, and counts what becomes of it there."""


class Secrets(Protocol):
    """Gives secrets: `shared.secrets.SecretCache`."""

    async def get(self, name: str) -> Secret:
        """The current version; raises SecretError."""
        ...

    async def both(self, name: str) -> Sequence[Secret]:
        """The current version, then the previous one while it is accepted."""
        ...

    async def changed(self, name: str) -> bool:
        """Read it anew where it is cached."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What authentication needs of the app.

    Attributes
    ----------
    identity:
        A token of the app's own identity for a scope, and the moment of its end in seconds since 1970.
    session:
        Makes the connections to a token endpoint.
    """

    secrets: Secrets | None
    identity: Callable[[str], Awaitable[tuple[str, float]]] | None
    session: Callable[[str], Session]
    clock: Callable[[], float]
    now: Callable[[], datetime]


class Authenticators:
    """Everything that a partner asks for, in the order in which it was declared.

    Parameters
    ----------
    guarded:
        What stands before the token endpoint.
    key_header:
        The header with the call's key, which a signature may be over.
    """

    def __init__(
        self,
        partner: str,
        declared: Sequence[Authentication],
        means: Means,
        *,
        guarded: Guarded,
        base_url: str = "",
        key_header: str | None = None,
    ) -> None:
        self._partner = partner
        self._guarded = guarded
        self._key_header = key_header
        self._base_url = base_url
        self._means = means
        self._secrets: dict[str, _RotatingSecret] = {}
        self._loaded: dict[MessageSigned, str] = {}
        self._tokens: dict[Authentication, TokenCache] = {}
        self._sessions: list[Session] = []
        self._certificates = None if means.secrets is None else Certificates(means.secrets)
        self._certificate = next((one for one in declared if isinstance(one, MutualTls)), None)
        signed = HmacSigned | MessageSigned
        others = tuple(one for one in declared if not isinstance(one, MutualTls | signed))
        self._asked = (*others, *(one for one in declared if isinstance(one, signed)))
        self.any = bool(declared)

    async def collect(self) -> Proofs:
        """What the vault and the token endpoint give: before the partner's own time begins, and at no place of its own.

        Raises
        ------
        PartnerError, PartnerUnavailable
            There is no proof; the request hasn't been sent, and the partner hasn't failed.
        """
        values: list[str] = []
        try:
            for one in self._asked:
                if isinstance(one, ClientCredentials | RefreshToken | ManagedIdentity):
                    values.append(await self._token(one).get())
                else:
                    values.append(await self._secret(one.secret).get())
                if isinstance(one, MessageSigned):
                    await self._load(one, values[-1])
        except PartnerError as error:  # a token endpoint's: whatever became of that request, this one wasn't made
            error.sent = False
            raise
        return Proofs(values, await self._identity() if self._certificate else None)

    def apply(self, request: Request, proofs: Proofs) -> Request:
        """The request with its proofs, a signature over all the rest."""
        for one, value in zip(self._asked, proofs.values, strict=True):
            request = self._applied(request, one, value)
        return request

    async def refused(self, proofs: Proofs) -> bool:
        """The partner answered a request of these proofs with 401: whether another try may be believed."""
        helped = False
        for one, value in zip(self._asked, proofs.values, strict=True):
            if isinstance(one, ClientCredentials | RefreshToken | ManagedIdentity):
                helped |= self._token(one).spoil(value)
            else:
                helped |= await self._secret(one.secret).refused(value)
        return helped

    def _applied(self, request: Request, one: Authentication, secret: str) -> Request:
        match one:
            case ApiKey():
                value = one.prefix + secret
                if one.query:
                    return request._replace(query={**request.query, one.query: value})
                return _with(request, {one.header: value})
            case Basic():
                pair = f"{one.user}:{secret}".encode()
                value = base64.b64encode(pair).decode()
                hide(value)
                return _with(request, {"Authorization": f"Basic {value}"})
            case HmacSigned():
                return _with(request, self._signed(request, one, secret))
            case MessageSigned():
                return _with(request, self._message_signed(request, one, secret))
            case ClientCredentials() | RefreshToken() | ManagedIdentity():
                return _with(request, {"Authorization": f"Bearer {secret}"})
            case _:
                return request

    async def _load(self, one: MessageSigned, secret: str) -> None:
        if self._loaded.get(one) == secret:
            return
        try:
            await asyncio.to_thread(one.how.load, secret)
        except ValueError as error:
            raise _unfit(self._partner, f"{error} (the secret {one.secret})") from None
        self._loaded[one] = secret

    def _message_signed(self, request: Request, one: MessageSigned, secret: str) -> Mapping[str, str]:
        headers = {name.lower(): value for name, value in request.headers.items()}
        signed = SignedRequest(request.method, str(self._address(request)), headers, request.body or b"")
        try:
            return one.how.sign(signed, secret, now=self._means.now())
        except (ValueError, SignatureRefused) as error:
            raise _unfit(self._partner, f"{error} (the secret {one.secret})") from None

    def _address(self, request: Request) -> "URL":
        from yarl import URL  # what aiohttp makes of an address

        return URL(self._base_url + request.path).with_query(request.query or None)

    def _signed(self, request: Request, how: HmacSigned, secret: str) -> dict[str, str]:
        moment, sent = self._means.now(), self._address(request)
        parts = {
            "id": request.headers.get(self._key_header or "", ""),
            "timestamp": str(int(moment.timestamp())),
            "method": request.method,
            "path": sent.raw_path,
            "query": sent.raw_query_string,
            "body": "\0",
        }
        if how.id_header and not parts["id"]:
            parts["id"] = hashlib.sha256(request.body or b"").hexdigest()[:32]
        text = how.signed.format(**parts).encode().replace(b"\0", request.body or b"")
        signature = hmac.new(_key(self._partner, how, secret), text, how.algorithm).digest()
        encoded = signature.hex() if how.encoding == "hex" else base64.b64encode(signature).decode()
        headers = {how.header: how.prefix + encoded}
        if how.timestamp_header:
            headers[how.timestamp_header] = parts["timestamp"]
        if how.id_header:
            headers[how.id_header] = parts["id"]
        return headers

    def _secret(self, name: str) -> "_RotatingSecret":
        if name not in self._secrets:
            if self._means.secrets is None:
                raise UnknownSecret(name, "the app has no key vault: set KeyVault__vaultUri")
            self._secrets[name] = _RotatingSecret(self._means.secrets, name, budget=refusals(self._means.clock))
        return self._secrets[name]

    def _token(self, one: ClientCredentials | RefreshToken | ManagedIdentity) -> TokenCache:
        if one not in self._tokens:
            fetch = self._fetch_identity(one) if isinstance(one, ManagedIdentity) else self._fetch_token(one)
            self._tokens[one] = TokenCache(fetch, clock=self._means.clock)
        return self._tokens[one]

    def _fetch_identity(self, one: ManagedIdentity) -> Callable[[], Awaitable[Token]]:
        identity = self._means.identity
        if identity is None:
            raise LookupError(f"{self._partner}: the app has no identity here")

        async def fetch() -> Token:
            value, ends = await identity(one.scope)
            return Token(value, max(0.0, ends - self._means.now().timestamp()))

        return fetch

    def _fetch_token(self, one: ClientCredentials | RefreshToken) -> Callable[[], Awaitable[Token]]:
        parts = urlsplit(one.token_url)
        site = urlunsplit((parts.scheme, parts.netloc, "", "", "")) if parts.netloc else self._base_url
        session = self._means.session(site)
        self._sessions.append(session)
        secrets = self._means.secrets
        if secrets is None:
            raise UnknownSecret(one.secret, "the app has no key vault: set KeyVault__vaultUri")

        async def ask() -> Token:
            request = await token_request(one, secrets)
            answer = await self._guarded("token", lambda: session.send(request, seconds=_TOKEN_SECONDS))
            return read_token(self._partner, answer)

        names = [one.secret, one.refresh_secret] if isinstance(one, RefreshToken) else [one.secret]
        budget = refusals(self._means.clock)

        async def fetch() -> Token:
            """A secret that has just been replaced is read anew."""
            try:
                return await ask()
            except PartnerError as error:
                if error.status not in (400, 401) or not budget.spend():
                    raise
                if not any([await secrets.changed(name) for name in names if name]):
                    raise
            return await ask()

        return fetch

    async def _identity(self) -> ssl.SSLContext | None:
        """The TLS context with the app's certificate; another one as soon as the vault has another certificate."""
        wanted = self._certificate
        if wanted is None:
            return None
        if self._certificates is None:
            raise UnknownSecret(wanted.secret, "the app has no key vault: set KeyVault__vaultUri")
        return await self._certificates.get(wanted.secret, wanted.authorities)

    async def close(self) -> None:
        """Close the connections to token endpoints."""
        for cache in self._tokens.values():
            await cache.close()
        for session in self._sessions:
            await session.close()


_TOKEN_SECONDS = 10.0


class _RotatingSecret:
    """A secret of which a partner may know the next or the former version already, or still."""

    def __init__(self, secrets: Secrets, name: str, *, budget: RetryBudget) -> None:
        self._secrets = secrets
        self._name = name
        self._budget = budget
        self._learning = asyncio.Lock()
        self._refused = ""

    async def get(self) -> str:
        """The current version, unless the partner has just refused it and accepts the one before."""
        current = await self._secrets.get(self._name)
        value = current.value
        if value == self._refused:
            value = next((one.value for one in await self._secrets.both(self._name) if one.value != value), value)
        hide(value)
        return value

    async def refused(self, used: str) -> bool:
        """Whether there is another version to try than the one that was used: one of the vault, or the one before."""
        async with self._learning:
            if used != await self.get():  # another call has found out meanwhile
                return True
            if self._budget.spend():
                await self._secrets.changed(self._name)
            current = (await self._secrets.get(self._name)).value
            if used != current:  # it was the former one, or the vault has a new one
                self._refused = ""
                return True
            others = [one.value for one in await self._secrets.both(self._name) if one.value != current]
            self._refused = current if others else ""
            return bool(others)


def _with(request: Request, headers: Mapping[str, str]) -> Request:
    return request._replace(headers={**request.headers, **headers})


def _unfit(partner: str, reason: str) -> PartnerError:
    """A secret that can't sign, or a request that can't be signed: nothing was sent, and the partner isn't to blame."""
    return PartnerError(partner, "signature", reason, sent=False, tells=False)


def _key(partner: str, how: HmacSigned, secret: str) -> bytes:
    if how.key == "text":
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:  # not in Base64, or not even in ASCII
        raise _unfit(partner, f"the secret {how.secret} is no Base64") from None


class Certificates:
    """TLS contexts with a certificate of the vault; another one as soon as the vault has another certificate."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._contexts: dict[tuple[str, str], tuple[str, ssl.SSLContext]] = {}

    async def get(self, name: str, authorities: str = "") -> ssl.SSLContext:
        """The context of a certificate, and of the authorities that the other side's is checked by.

        Raises
        ------
        UnknownSecret, SecretError
        """
        own = await self._secrets.get(name)
        trusted = await self._secrets.get(authorities) if authorities else None
        version = f"{own.version}/{trusted.version if trusted else ''}"
        found = self._contexts.get((name, authorities))
        if found is None or found[0] != version:
            found = self._contexts[name, authorities] = version, _tls(own, trusted)
        return found[1]


def _tls(own: Secret, trusted: Secret | None) -> ssl.SSLContext:
    """A context with a certificate. The ssl module reads it from files alone: from one of our own, for a moment."""
    context = ssl.create_default_context(cadata=trusted.value if trusted else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    descriptor, name = tempfile.mkstemp(prefix="sluice-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_pem(own))
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
    return context


def _pem(own: Secret) -> bytes:
    if "-----BEGIN" in own.value:
        return own.value.encode()
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

    key, certificate, more = pkcs12.load_key_and_certificates(base64.b64decode(own.value), None)
    if key is None or certificate is None:
        raise UnknownSecret(own.name, "holds no certificate with its key")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *more))
