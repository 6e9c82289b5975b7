"""Bearer tokens: Entra ID access tokens, checked here and not by asking anybody (RFC 7519, RFC 8725)."""

import base64
import binascii
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.messages import MessageError, parse_strict
from shared.resilience import BoundedCache

from .callers import GRANTED, Caller, Unauthenticated
from .signing_keys import SigningKey, SigningKeys

__all__ = ["SeveralIssuers", "TokenRules", "TokenVerifier", "key_id_of", "verified"]

LONGEST = 16_384
"""Characters of a token that is looked at: Entra ID's own stay far below."""
LONGEST_KID = 256
LEEWAY = 60
"""Seconds by which clocks may differ."""
BEFORE_EXPIRY = 5
"""Seconds before its expiry from which a token is looked at in full again."""
MOST_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say, and how it is read.

    Attributes
    ----------
    issuer, audiences:
        Who issued it, and for whom.
    roles:
        The claim that holds the roles: its name, or a path through objects with dots.
    name:
        Stands before the names of this issuer's clients, so that no other's client has one of them.
    others:
        Names of other issuers: no client of this one may look like theirs.
    """

    issuer: str
    audiences: Sequence[str]
    roles: str = "roles"
    name: str = ""
    others: Sequence[str] = ()


class TokenVerifier:
    """Tells whose token it is; tokens that were checked a moment ago are known by their digest.

    Parameters
    ----------
    distrusted:
        The ids of keys that an operator distrusts.
    """

    def __init__(
        self,
        rules: TokenRules,
        keys: SigningKeys,
        *,
        distrusted: Callable[[], Awaitable[Collection[str]]] | None = None,
        now: Callable[[], float] = time.time,
        size: int = MOST_KEPT,
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._distrusted = distrusted
        self._now = now
        self._known: BoundedCache[bytes, tuple[str, Caller]] = BoundedCache(size, clock=now)

    @property
    def issuer(self) -> str:
        """Whose tokens it knows."""
        return self._rules.issuer

    def known(self, token: bytes) -> tuple[str, Caller] | None:
        """Under which key and whose a token is, where that was found out a moment ago."""
        if len(token) > LONGEST:
            return None
        return self._known.get(hashlib.sha256(token).digest())

    async def caller(self, token: bytes) -> Caller:
        """Whose token it is.

        Raises
        ------
        Unauthenticated
            It doesn't hold.
        CannotTell
            The issuer's keys can't be had.
        """
        distrusted = () if self._distrusted is None else await self._distrusted()
        found = self.known(token)
        kid = key_id_of(token, self._rules) if found is None else found[0]
        if kid in distrusted:
            raise Unauthenticated("The token is signed with a key that isn't trusted any more.")
        if found is not None:
            return found[1]
        claims = verified(token, await self._keys.get(kid), self._rules)
        until = min(int(claims["exp"]) - BEFORE_EXPIRY, self._now() + self._keys.believed_for)
        return self._known.put(hashlib.sha256(token).digest(), (kid, _caller(claims, self._rules)), until=until)[1]

    async def close(self) -> None:
        """Stop what is under way."""
        await self._keys.close()


class SeveralIssuers:
    """Verifiers of several issuers: each token is tried with the keys of the one issuer that it names."""

    def __init__(self, verifiers: Sequence[TokenVerifier]) -> None:
        self._verifiers = {one.issuer: one for one in verifiers}

    async def caller(self, token: bytes) -> Caller:
        """Whose token it is; raises as `TokenVerifier.caller`."""
        for one in self._verifiers.values():
            if one.known(token) is not None:
                return await one.caller(token)
        found = self._verifiers.get(issuer_of(token))
        if found is None:
            raise Unauthenticated("The token is from another issuer.")
        return await found.caller(token)

    async def close(self) -> None:
        """Stop what is under way."""
        for one in self._verifiers.values():
            await one.close()


def issuer_of(token: bytes) -> str:
    """Who a token says has issued it; empty where it doesn't say.

    Raises
    ------
    Unauthenticated
        It isn't a token.
    """
    if len(token) > LONGEST or token.count(b".") != 2:
        raise Unauthenticated("This is not a token.")
    issuer = _part(token.split(b".")[1]).get("iss")
    return issuer if isinstance(issuer, str) else ""


def key_id_of(token: bytes, rules: TokenRules) -> str:
    """The id of the key that a token says it is signed with. Nothing else that the token names is ever fetched.

    Raises
    ------
    Unauthenticated
        It isn't a token, or one that can't hold whatever its signature: the issuer isn't asked for its key.
    """
    if len(token) > LONGEST or token.count(b".") != 2:
        raise Unauthenticated("This is not a token.")
    header, claims, _ = token.split(b".")
    head, body = _part(header), _part(claims)
    kid = head.get("kid")
    if head.get("alg") not in ("RS256", "ES256") or "crit" in head:
        raise Unauthenticated("The token is signed in a way that isn't taken.")
    if not isinstance(kid, str) or not 1 <= len(kid) <= LONGEST_KID:
        raise Unauthenticated("The token doesn't name its key.")
    if body.get("iss") != rules.issuer:
        raise Unauthenticated("The token is from another issuer.")
    return kid


def verified(token: bytes, key: SigningKey, rules: TokenRules) -> dict[str, Any]:
    """The claims of a token whose signature, issuer, audience and times hold.

    Raises
    ------
    Unauthenticated
        One of them doesn't.
    """
    import jwt  # loaded with the first token

    try:
        return jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=list(rules.audiences),
            issuer=rules.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("The token has expired.") from None
    except jwt.InvalidAudienceError:
        raise Unauthenticated("The token is for another audience.") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise Unauthenticated("The token doesn't hold.") from None


def _part(encoded: bytes) -> dict[str, Any]:
    """A part of a token as strict JSON: names are unique and nesting is bounded for every later reader."""
    try:
        parsed = parse_strict(base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, MessageError):
        raise Unauthenticated("This is not a token.") from None
    if not isinstance(parsed, dict):
        raise Unauthenticated("This is not a token.")
    return parsed


def _caller(claims: Mapping[str, Any], rules: TokenRules) -> Caller:
    """App roles of an app, scopes of a user who came by one: what a user sends is the user's, not the app's."""
    given = _claim(claims, rules.roles)
    names = {name for name in given if isinstance(name, str)} if isinstance(given, list) else set()
    scopes = claims.get("scp")
    if isinstance(scopes, str):
        names |= set(scopes.split())
    client = _text(claims, "azp", "appid")
    user = _text(claims, "oid", "sub")
    delegated = isinstance(scopes, str) or (bool(rules.name) and not _is_of_client(claims, client))
    name = "/".join(part for part in (client, user if delegated or not client else "") if part)
    if not name:
        raise Unauthenticated("The token doesn't say whose it is.")
    if rules.name:
        name = f"{rules.name}:{name}"
    elif name.startswith(tuple(f"{other}:" for other in rules.others)):
        raise Unauthenticated("The token's client has a name of another issuer's.")
    return Caller(name, frozenset(role for role in GRANTED if role in names))


def _is_of_client(claims: Mapping[str, Any], client: str) -> bool:
    """Whether a token is an app's own. Entra ID tells by `scp` that it is a user's; another issuer by a subject that
    isn't the client (RFC 9068, section 5). That may be a service account, too: one caller all the same.
    """
    subject = _text(claims, "sub")
    is_app_of_entra = "tid" in claims and subject == _text(claims, "oid")
    return subject in ("", client, f"{client}@clients") or is_app_of_entra  # the latter two Auth0's and Entra ID's


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may have dots, or else by its path."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(claims: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = claims.get(name)
        if isinstance(value, str) and value:
            return value
    return ""
