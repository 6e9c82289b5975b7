"""How the app shows a receiver who it is, beside the signature: an API key, an OAuth 2.0 token, a certificate."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from shared.partners import ClientCredentials, InvalidAnswer, Received
from shared.partners.tokens import Token, TokenCache, read_token, token_request
from shared.resilience import BoundedCache
from shared.telemetry import hide

from .sender import Sender
from .subscription import ReceiverAuth, ReceiverAuthKind, Subscription

__all__ = ["Certificate", "Credentials", "NoCredential", "Proof"]

LARGEST_TOKEN = 16 * 1024
"""Bytes of a token endpoint's answer."""
_CACHED = 2_000
_UNNAMED = "-"

Certificate = Callable[[], Awaitable[ssl.SSLContext]]
"""The TLS context with the app's own certificate."""


class NoCredential(Exception):
    """There is none just now; the text says why, and holds nothing of it.

    Attributes
    ----------
    own:
        It is the app's own certificate that is lacking, which says nothing of the receiver.
    refused:
        The token endpoint has an address that must not be called.
    """

    def __init__(self, why: str, *, own: bool = False, refused: bool = False) -> None:
        super().__init__(why)
        self.own = own
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Proof:
    """What goes with one POST."""

    headers: Mapping[str, str] = field(default_factory=dict)
    identity: ssl.SSLContext | None = None


_NONE = Proof()


@dataclass(frozen=True, slots=True)
class _Value:
    value: str


@dataclass(frozen=True, slots=True)
class _Own:
    """The subscription's secret, where a declaration would name one of the vault."""

    secret: str

    async def get(self, _: str) -> _Value:
        return _Value(self.secret)


class Credentials:
    """Of all receivers; a token is fetched once by everybody who needs it, through the sender that guards addresses.

    Parameters
    ----------
    certificate:
        None: the app has none.
    clock:
        Seconds, monotonic.
    """

    def __init__(self, sender: Sender, certificate: Certificate | None, *, clock: Callable[[], float]) -> None:
        self._sender = sender
        self._certificate = certificate
        self._clock = clock
        self._tokens: BoundedCache[tuple[str, ReceiverAuth], TokenCache] = BoundedCache(_CACHED, clock=clock)

    async def proof(self, subscription: Subscription) -> Proof:
        """What a receiver wants to see; raises NoCredential."""
        wanted = subscription.authentication
        if wanted is None:
            return _NONE
        match wanted.kind:
            case ReceiverAuthKind.API_KEY:
                hide(wanted.secret)
                return Proof({wanted.header: wanted.secret})
            case ReceiverAuthKind.OAUTH2:
                return Proof({"Authorization": f"Bearer {await self._token(subscription.id, wanted).get()}"})
            case ReceiverAuthKind.MUTUAL_TLS:
                return Proof(identity=await self._own())

    def refused(self, subscription: Subscription, proof: Proof) -> None:
        """The receiver answered 401: its token isn't used again."""
        wanted = subscription.authentication
        if wanted is not None and wanted.kind is ReceiverAuthKind.OAUTH2:
            value = proof.headers["Authorization"].removeprefix("Bearer ")
            self._token(subscription.id, wanted).spoil(value)

    async def _own(self) -> ssl.SSLContext:
        if self._certificate is None:
            raise NoCredential("the app has no certificate of its own", own=True)
        try:
            return await self._certificate()
        except Exception as error:  # the vault's, or the certificate's own
            raise NoCredential(f"the app's certificate can't be used ({type(error).__name__})", own=True) from error

    def _token(self, subscription: str, wanted: ReceiverAuth) -> TokenCache:
        found = self._tokens.get((subscription, wanted))
        if found is None:
            found = TokenCache(lambda: self._fetch(wanted), clock=self._clock)
            self._tokens.put((subscription, wanted), found)
        return found

    async def _fetch(self, wanted: ReceiverAuth) -> Token:
        grant = ClientCredentials(
            token_url=wanted.token_url, client_id=wanted.client_id, secret=_UNNAMED, scope=wanted.scope
        )
        request = await token_request(grant, _Own(wanted.secret))
        answer = await self._sender.post(wanted.token_url, request.body or b"", request.headers, most=LARGEST_TOKEN)
        if not answer.good:
            why = f"its token endpoint gives no token: {answer.problem or f'answered {answer.status}'}"
            raise NoCredential(why, refused=answer.refused)
        try:
            return read_token("receiver", Received(status=answer.status or 0, headers={}, body=answer.body))
        except InvalidAnswer as error:
            raise NoCredential("its token endpoint answers with no token") from error
