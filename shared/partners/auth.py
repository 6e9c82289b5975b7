"""How the app shows a partner who it is. Declarations name secrets of the key vault, and never hold one.

They can be combined: `auth=(MutualTls(secret="carrier-certificate"), ApiKey(secret="carrier-key"))`.
"""

import re
from dataclasses import dataclass, field
from string import Formatter
from typing import Literal

from shared.environment import is_secret_name
from shared.http_signatures import Signer

__all__ = [
    "ApiKey",
    "Authentication",
    "Basic",
    "ClientCredentials",
    "HmacSigned",
    "ManagedIdentity",
    "MessageSigned",
    "MutualTls",
    "RefreshToken",
]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_SIGNED = frozenset({"id", "timestamp", "method", "path", "query", "body"})


def _check_secret(name: str) -> None:
    if not is_secret_name(name):
        raise ValueError("auth: a secret is named by letters, digits and hyphens, as in the key vault")


def _check_header(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"auth: {name!r} is no header's name")


def _check_token_url(url: str) -> None:
    if not re.fullmatch(
        r"https://[^\s?#@]+|http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#@]*)?|/[^\s?#@/][^\s?#@]*", url
    ):
        raise ValueError("auth: token_url must be https://… without query or user, or a path beneath the base URL")


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key in a header, or with `query` in a parameter of that name. `prefix` stands before it: `"Bearer "`."""

    secret: str
    header: str = "X-API-Key"
    query: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        _check_header(self.header)


@dataclass(frozen=True, kw_only=True)
class Basic:
    """User and password (RFC 7617)."""

    user: str
    secret: str

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        if ":" in self.user:
            raise ValueError("auth: a user of basic authentication has no colon")


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """A token of the OAuth 2.0 client credentials grant (RFC 6749, 4.4).

    Parameters
    ----------
    token_url:
        Where tokens are had; a path such as `/oauth/token` is one beneath the partner's base URL, on every stage.
    in_body:
        Client and secret go in the token request's body instead of its `Authorization`.
    """

    token_url: str
    client_id: str
    secret: str
    scope: str = ""
    audience: str = ""
    in_body: bool = False

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        _check_token_url(self.token_url)


@dataclass(frozen=True, kw_only=True)
class RefreshToken:
    """A token that a refresh token gives (RFC 6749, 6); `secret` is the client's, where it has one.

    The refresh token of the vault is used again and again: a partner that replaces it with each use needs a rotation.
    """

    token_url: str
    client_id: str
    refresh_secret: str
    secret: str = ""
    scope: str = ""

    def __post_init__(self) -> None:
        _check_secret(self.refresh_secret)
        if self.secret:
            _check_secret(self.secret)
        _check_token_url(self.token_url)


@dataclass(frozen=True, kw_only=True)
class ManagedIdentity:
    """A token of the app's own identity, for what is protected by Entra ID; the scope ends with `/.default`."""

    scope: str

    def __post_init__(self) -> None:
        if not self.scope.endswith("/.default"):
            raise ValueError("auth: the scope of a managed identity ends with /.default")


@dataclass(frozen=True, kw_only=True)
class HmacSigned:
    """A signature of the request.

    Parameters
    ----------
    signed:
        What is signed: any of `{id}`, `{timestamp}` (seconds since 1970), `{method}`, `{path}`, `{query}`, `{body}`.
    encoding:
        Of the signature; `prefix` stands before it.
    key:
        Whether the secret is the key's text, or the key in Base64 (after `whsec_`, if it begins so).

    Example
    -------
    As Standard Webhooks has it:

    >>> HmacSigned(
    ...     secret="carrier-signing", header="webhook-signature", signed="{id}.{timestamp}.{body}", prefix="v1,",
    ...     encoding="base64", key="base64", id_header="webhook-id", timestamp_header="webhook-timestamp",
    ... ).algorithm
    'sha256'
    """

    secret: str
    header: str = "X-Signature"
    signed: str = "{timestamp}.{method}.{path}.{body}"
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    key: Literal["text", "base64"] = "text"
    id_header: str = ""
    timestamp_header: str = "X-Timestamp"

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        for name in filter(None, (self.header, self.id_header, self.timestamp_header)):
            _check_header(name)
        names = {name for _, name, _, _ in Formatter().parse(self.signed) if name is not None}
        if not names <= _SIGNED or "body" not in names:
            raise ValueError(f"auth: signed takes {', '.join(sorted(_SIGNED))}, and body among them")


@dataclass(frozen=True, kw_only=True)
class MessageSigned:
    """An HTTP message signature (RFC 9421) over the request and its Content-Digest.

    Parameters
    ----------
    secret:
        The private key in PEM, or for `hmac-sha256` the shared key in Base64.
    how:
        Algorithm, what is covered, and the name of the key.
    """

    secret: str
    how: Signer = field(default_factory=Signer)

    def __post_init__(self) -> None:
        _check_secret(self.secret)


@dataclass(frozen=True, kw_only=True)
class MutualTls:
    """The app's own certificate.

    Parameters
    ----------
    secret:
        Certificate and key: PEM, or PKCS #12 in Base64 without a password, as the key vault hands out certificates.
    authorities:
        A secret with the certificates, in PEM, that the partner's own is checked by, where that is no public one.
    """

    secret: str
    authorities: str = ""

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        if self.authorities:
            _check_secret(self.authorities)


Authentication = (
    ApiKey | Basic | ClientCredentials | RefreshToken | ManagedIdentity | HmacSigned | MessageSigned | MutualTls
)
