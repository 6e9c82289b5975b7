"""Asks a running issuer for tokens, for tools and tests on this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from local_azure.identity.address import IdentityAddress
from local_azure.identity.registration import Registration

__all__ = ["IdentityError", "fetch_token", "rotate_keys"]

_SECONDS = 10.0


class IdentityError(Exception):
    """The issuer does not answer, or refuses; the message says which."""


def fetch_token(
    address: IdentityAddress,
    registration: Registration,
    *,
    audience: str,
    roles: Sequence[str],
    client: str = "developer",
    lifetime: int = 3_600,
) -> str:
    """A bearer token for `client`, valid for `lifetime` seconds. Blocks for as long as the issuer takes.

    Raises
    ------
    IdentityError
        If there is no token.
    """
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": registration.client_secret,
        "scope": f"{audience}/.default",
        "roles": ",".join(roles),
        "lifetime": str(lifetime),
    }
    token = _post(address.token_url, form, {}).get("access_token")
    if not isinstance(token, str):
        raise IdentityError(f"{address.token_url} answered without a token.")
    return token


def rotate_keys(address: IdentityAddress, registration: Registration, *, overlap: float = 86_400.0) -> str:
    """Have the issuer sign with a new key, and publish the old ones for `overlap` seconds more; the new key's id.

    Raises
    ------
    IdentityError
        If it did not.
    """
    headers = {"Authorization": f"Bearer {registration.client_secret}"}
    return str(_post(f"{address.url}/admin/rotate", {"overlap": str(overlap)}, headers)["kid"])


def _post(url: str, form: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, urlencode(form).encode(), headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of this machine
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        raise IdentityError(f"{url} refused with {error.code}: {_reason(error)}") from None
    except (OSError, ValueError) as error:
        raise IdentityError(f"{url} does not answer ({getattr(error, 'reason', error)}).") from None
    if not isinstance(content, dict):
        raise IdentityError(f"{url} answered with something else than an object.")
    return content


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        content = json.loads(error.read(4_096))
        return str(content.get("error_description") or content.get("message"))
    except (OSError, ValueError, AttributeError):
        return "no reason given"
