"""What all webhooks have in common: a request as it came, what it tells, and a scheme that knows its sender."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

__all__ = ["Field", "Header", "Incoming", "NotGenuine", "Notice", "Reply", "Scheme", "within_tolerance"]

MOST_TRIED = 8
"""Signatures of a request, and secrets of a source, that are compared: a sender rotates one or two."""
LONGEST_HEADER = 8_192
_LONGEST_TIME = 13


class NotGenuine(Exception):
    """The request wasn't sent by whom it should be. The text is for the log: a stranger learns nothing of it."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came.

    Attributes
    ----------
    url:
        As its sender knows it, with the query.
    headers:
        By name in lower case; values of the same name joined by a comma and a space (RFC 9421, 2.1).
    query:
        Parameters, decoded.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """A header that the signature needs.

        Raises
        ------
        NotGenuine
            It is missing, empty or too long.
        """
        value = self.headers.get(name, "")
        if not value or len(value) > LONGEST_HEADER:
            raise NotGenuine(f"the header {name} is missing or too long")
        return value


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a webhook tells.

    Attributes
    ----------
    delivery:
        The sender's own id: the same when it is sent again. Empty where the sender has none.
    content:
        A JSON object.
    raw:
        The bytes of `content` where they came as such: they travel unchanged.
    """

    topic: str
    delivery: str
    content: Mapping[str, Any]
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the sender's own kind, to a handshake for example."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Reply":
        """200 with a JSON object."""
        return cls(200, json.dumps(content, separators=(",", ":")).encode(), {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class Header:
    """A value that stands in a header."""

    name: str

    def of(self, incoming: Incoming, content: Mapping[str, Any]) -> str:
        """The value; empty where there is none."""
        return incoming.headers.get(self.name.lower(), "")


@dataclass(frozen=True, slots=True)
class Field:
    """A value that stands in the body, by names with dots between: `event.type`; several are put together."""

    path: str
    more: tuple[str, ...] = ()

    def of(self, incoming: Incoming, content: Mapping[str, Any]) -> str:
        """The value as text; empty where there is none."""
        return " ".join(found for path in (self.path, *self.more) if (found := self._at(path, content)))

    @staticmethod
    def _at(path: str, content: Mapping[str, Any]) -> str:
        value: Any = content
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


@dataclass(frozen=True, kw_only=True)
class Scheme(ABC):
    """How one sender signs, what its requests tell, and how it wants to be answered.

    Attributes
    ----------
    topic, delivery:
        Where a request names what it is about, and its id.
    methods, query:
        The methods that the sender uses, and the query parameters that it adds.
    """

    topic: Header | Field | None = None
    delivery: Header | Field | None = None
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    query: ClassVar[frozenset[str]] = frozenset()

    def fetches(self, incoming: Incoming) -> str | None:
        """The address of what `verify` needs, where the sender names a certificate by its address.

        Raises
        ------
        NotGenuine
            It names a place that isn't the sender's.
        """
        return None

    @abstractmethod
    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Return if one of the secrets has signed the request. Nothing of the body has been parsed before.

        Raises
        ------
        NotGenuine
        """

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """The answer to a genuine request that tells nothing: the sender only tries the address."""
        return None

    def notices(self, incoming: Incoming, content: Any) -> list[Notice]:
        """What a genuine request tells. A list in the body is several; what is no object is none."""
        many = content if isinstance(content, list) else [content]
        raw = incoming.body if isinstance(content, dict) and incoming.body.lstrip()[:1] == b"{" else None
        return [
            Notice(_of(self.topic, incoming, one), _of(self.delivery, incoming, one), one, raw)
            for one in many
            if isinstance(one, dict)
        ]

    def accepted(self, incoming: Incoming, content: Any) -> Reply:
        """The answer once everything is kept."""
        return Reply(200)


def _of(place: Header | Field | None, incoming: Incoming, content: Mapping[str, Any]) -> str:
    return "" if place is None else place.of(incoming, content)


def within_tolerance(text: str, *, now: datetime, tolerance: float, per_second: int = 1) -> None:
    """Return if a time of signing, in seconds or parts of them since 1970, is near enough on either side.

    Raises
    ------
    NotGenuine
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_TIME):
        raise NotGenuine("the time of signing is no time")
    if abs(now.timestamp() - int(text) / per_second) > tolerance:
        raise NotGenuine("it was signed too long ago, or will be")
