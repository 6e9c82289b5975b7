"""Small HTTP calls with a deadline, for the checks of a deployment."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urljoin, urlsplit

__all__ = ["Answer", "Api", "Unreachable"]

_LARGEST = 4 * 1024 * 1024


class Unreachable(Exception):
    """No answer came: the name, the connection, TLS or the time-out; the text says which."""


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and body of an answer; an error status is an answer too."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or None where it isn't JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Api:
    """The API of one deployment.

    Parameters
    ----------
    base:
        Its address without `/api`, `https://…`; plain `http` is for loopback only, so that no token travels openly.
    token:
        A bearer token, or None to call without one.
    timeout:
        Seconds for one call.
    key:
        An API key, or None to call without one.
    """

    base: str
    token: str | None = field(default=None, repr=False)
    timeout: float = 20.0
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.base!r} is not the address of an app: give https://HOST")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError(f"{self.base!r} must be https: a token would travel in clear")

    def anonymous(self) -> Api:
        """The same API, called without credentials."""
        return Api(self.base, None, self.timeout)

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Call `path`; raises Unreachable."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Accept": "application/json", **(headers or {})}
        if data is not None:
            sent["Content-Type"] = "application/json"
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        elif self.key is not None:
            sent["X-API-Key"] = self.key
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            urljoin(self.base.rstrip("/") + "/", path.lstrip("/")), data=data, headers=sent, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                return _answer(answer.status, answer.headers, answer.read(_LARGEST))
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read(_LARGEST))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from error


def _answer(status: int, headers: Message[str, str], body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
