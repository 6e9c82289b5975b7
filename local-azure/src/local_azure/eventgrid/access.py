"""Who may publish: whoever has a key of the topic, a token made with one, or an identity's token.

Sources (learn.microsoft.com): "Authenticate publishing clients with access keys or shared access signatures",
"Authenticate publishing clients with Microsoft Entra ID".
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.topics import Topic

__all__ = ["AUDIENCE", "Bearer", "bearer_check", "check_key", "check_publisher", "check_token"]

AUDIENCE: Final = "https://eventgrid.azure.net"
_FORMATS: Final = ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y, %I:%M:%S %p", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S")

Bearer = Callable[[str], Awaitable[bool]]
"""Whether an identity's token is one for Event Grid."""


async def check_publisher(
    headers: Mapping[str, str], url: str, topic: Topic, *, now: datetime, bearer: Bearer | None
) -> None:
    """Return if a request may publish.

    Parameters
    ----------
    headers:
        By name in lower case.
    bearer:
        None where there is no issuer of tokens.

    Raises
    ------
    EventGridError
        401; the text says what was wrong, as the service's does.
    """
    key, token = headers.get("aeg-sas-key"), headers.get("aeg-sas-token")
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "sharedaccesssignature":
        token = given
    if scheme.lower() == "bearer":
        if bearer is None or not await bearer(given):
            raise _unauthorized("The token isn't valid for Event Grid, or its issuer isn't known.")
        return
    if key is None and token is None:
        raise _unauthorized(
            "Request must contain one of the following authorization signature: aeg-sas-token, aeg-sas-key."
        )
    if not topic.local_auth:
        raise _unauthorized("The topic takes identities only: disableLocalAuth is true.")
    if key is not None:
        check_key(key, topic)
    else:
        check_token(token or "", url, topic, now=now)


def check_key(given: str, topic: Topic) -> None:
    """Return if a key is one of the topic's."""
    found = False
    for key in topic.keys:
        found |= hmac.compare_digest(key.encode(), given.encode("utf-8", "replace"))
    if not found:
        raise _unauthorized("The specified key is invalid.")


def check_token(token: str, url: str, topic: Topic, *, now: datetime) -> None:
    """Return if `r=<resource>&e=<expiration>&s=<signature>` was made with a key, for this address, and still counts."""
    parts = re.fullmatch(r"(r=([^&]*)&e=([^&]*))&s=([^&]*)", token)
    if parts is None:
        raise EventGridError(
            400,
            "BadRequest",
            "Invalid key in aeg-sas-token. Valid format :r=UrlEncodedResource&e=UrlEncodedUtcExpiration"
            "&s=UrlEncodedSignature.",
        )
    signed, resource, expiration, signature = parts.groups()
    found = False
    for key in topic.keys:
        expected = base64.b64encode(hmac.digest(base64.b64decode(key), signed.encode(), "sha256"))
        found |= hmac.compare_digest(expected, unquote_plus(signature).encode())
    if not found:
        raise _unauthorized("Authorization signature is invalid.")
    if not _covers(unquote_plus(resource), url):
        raise _unauthorized("The signature is for another resource.")
    if _time(unquote_plus(expiration)) <= now:
        raise _unauthorized("The signature has expired.")


def _covers(resource: str, url: str) -> bool:
    signed, asked = urlsplit(resource), urlsplit(url)
    same_host = (signed.scheme, signed.netloc.lower()) == (asked.scheme, asked.netloc.lower())
    path = signed.path.rstrip("/")
    return same_host and (asked.path.rstrip("/") == path or asked.path.startswith(path + "/"))


def _time(text: str) -> datetime:
    """The time until which a token counts, as the SDKs of the several languages write it, in UTC."""
    text = text.replace("\u202f", " ").strip()
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _unauthorized("The expiration of the signature isn't a time.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _unauthorized(why: str) -> EventGridError:
    return EventGridError(401, "Unauthorized", f"The request authorization is invalid: {why}")


def bearer_check(fetch_keys: Callable[[], Awaitable[Mapping[str, Any]]], issuers: tuple[str, ...]) -> Bearer:
    """Takes tokens that one of the issuers has signed for Event Grid; its keys are fetched when one isn't known."""
    import jwt

    known: dict[str, jwt.PyJWK] = {}

    async def check(token: str) -> bool:
        try:
            kid = str(jwt.get_unverified_header(token).get("kid"))
            if kid not in known:
                found = jwt.PyJWKSet.from_dict(dict(await fetch_keys())).keys
                known.update({str(key.key_id): key for key in found})
            audience = (AUDIENCE, AUDIENCE + "/")
            jwt.decode(
                token, known[kid], algorithms=["RS256"], audience=audience, issuer=issuers,
                options={"require": ["exp", "iss", "aud", "oid"]},
            )  # fmt: skip
        except (jwt.PyJWTError, KeyError, OSError, UnicodeError):
            return False
        return True

    return check
