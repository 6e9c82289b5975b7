"""A cache of GETs by RFC 9111: what may be stored, for how long it is fresh, and what is asked anew. Without I/O.

It is a private cache: the app is the one who asks, with the same proofs each time, and what a handler adds in headers
of its own is part of what is asked. Nothing is stored that a partner says nothing about: lifetimes aren't guessed
(RFC 9111, 4.2.2, allows it, and an integration must not be surprised).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shared.resilience import BoundedCache

from .sessions import Received, Request

__all__ = ["HttpCache", "StoredAnswer", "directives"]

_DIRECTIVE = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?\s*(?:,|$)')
_SKIPPED = re.compile(r"[^,]*(?:,|$)")
_MOST_SECONDS = 2**31
"""RFC 9111, 1.2.2: what is more counts as this much."""
_UNDERSTOOD = frozenset({200, 203, 204})
"""Other answers are errors to a caller, which aren't stored, or parts."""
_NOT_UPDATED = frozenset({"content-encoding", "content-length", "content-range", "content-type", "transfer-encoding"})
_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"})
_OF_A_CALL = frozenset({"cache-control", "pragma", "traceparent", "tracestate", "x-correlation-id", *_CONDITIONS})
"""Headers that differ from call to call, and which no answer depends on; all others may be proofs of a customer's."""
_MOST_VARIANTS = 16
_DATES = (
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "%a, %d %b %Y %H:%M:%S GMT"),
    (re.compile(r"[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"), "%A, %d-%b-%y %H:%M:%S GMT"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}"), "%a %b %d %H:%M:%S %Y"),
)


def directives(header: str) -> dict[str, str]:
    """The directives of a `Cache-Control` by their names in lower case; the first of a name counts.

    What is malformed is passed over (RFC 9111, 5.2).
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(header):
        match = _DIRECTIVE.match(header, position)
        if match is None:
            match = _SKIPPED.match(header, position)
            if match is None or match.end() == position:
                break
        else:
            found.setdefault(match[1].lower(), match[2] if match[2] is not None else match[3] or "")
        position = match.end()
    return found


def _seconds(value: str | None) -> int | None:
    """Seconds of a directive; None where there is none, 0 where it is none that can be read."""
    if value is None:
        return None
    return min(int(value[:12]), _MOST_SECONDS) if value.isascii() and value.isdigit() else 0


def _moment(value: str | None) -> float | None:
    """A date in one of HTTP's three forms (RFC 9110, 5.6.7): no lifetime is read into what is none."""
    text = (value or "").strip()
    for shape, form in _DATES:
        if shape.fullmatch(text):
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
            except ValueError:
                return None
    return None


def _listed(header: str) -> list[str]:
    return [one.strip().lower() for one in header.split(",") if one.strip()]


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer, and what it depends on.

    Attributes
    ----------
    asked_at, received_at:
        Seconds since 1970.
    varies:
        The request's headers that `Vary` names, with their values.
    """

    received: Received
    asked_at: float
    received_at: float
    varies: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, received: Received, *, asked_at: float, received_at: float) -> "StoredAnswer | None":
        """An answer that may be stored (RFC 9111, 3); None where it mustn't, or where that is of no use."""
        headers = received.headers
        control, asked = directives(headers.get("cache-control", "")), _asked(request)
        vary = _listed(headers.get("vary", ""))
        if received.status not in _UNDERSTOOD or "no-store" in control or "no-store" in asked or "*" in vary:
            return None
        own = {name.lower(): value for name, value in request.headers.items()}
        hop = {"connection", *_listed(headers.get("connection", ""))} - {"cache-control"}
        if not hop.isdisjoint(headers):  # of this connection alone (RFC 9111, 3.1)
            received = received._replace(headers={name: value for name, value in headers.items() if name not in hop})
        made = cls(received, asked_at, received_at, {name: own.get(name, "").strip() for name in vary})
        return made if made.lifetime > 0 or made.conditions else None

    @property
    def _control(self) -> dict[str, str]:
        return directives(self.received.headers.get("cache-control", ""))

    @property
    def lifetime(self) -> float:
        """Seconds for which it is fresh (RFC 9111, 4.2.1)."""
        headers, control = self.received.headers, self._control
        if (most := _seconds(control.get("max-age"))) is not None:
            return most
        if (expires := headers.get("expires")) is None:
            return 0.0
        ends, date = _moment(expires), _moment(headers.get("date"))
        return 0.0 if ends is None else max(0.0, ends - (self.received_at if date is None else date))

    def age(self, now: float) -> float:
        """Seconds since the partner made it, or found it good (RFC 9111, 4.2.3)."""
        headers = self.received.headers
        date = _moment(headers.get("date"))
        apparent = 0.0 if date is None else max(0.0, self.received_at - date)
        stated = headers.get("age", "").split(",")[0].strip()
        passed = _seconds(stated) if stated.isascii() and stated.isdigit() else 0
        corrected = (passed or 0) + self.received_at - self.asked_at
        return max(apparent, corrected) + max(0.0, now - self.received_at)

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask whether it is still good (RFC 9111, 4.3.1)."""
        headers = self.received.headers
        named = {"If-None-Match": headers.get("etag", ""), "If-Modified-Since": headers.get("last-modified", "")}
        return {name: value for name, value in named.items() if value}

    def fits(self, request: Request) -> bool:
        """Whether it answers a request, by what it varies with."""
        own = {name.lower(): value for name, value in request.headers.items()}
        return all(own.get(name, "").strip() == value for name, value in self.varies.items())

    def serves(self, request: Request, now: float) -> bool:
        """Whether it may be used without asking the partner (RFC 9111, 4.2.4 and 5.2.1)."""
        control, asked = self._control, _asked(request)
        if "no-cache" in control or "no-cache" in asked:
            return False
        age, lifetime = self.age(now), self.lifetime
        if (most := _seconds(asked.get("max-age"))) is not None and age > most:
            return False
        if lifetime - age > (_seconds(asked.get("min-fresh")) or 0):
            return True
        if "max-stale" not in asked or "must-revalidate" in control:
            return False
        return not asked["max-stale"] or age - lifetime <= (_seconds(asked["max-stale"]) or 0)

    def serves_instead(self, now: float) -> bool:
        """Whether it may be used in the place of a failure (RFC 5861, 4)."""
        control = self._control
        if "no-cache" in control or "must-revalidate" in control:
            return False
        longer = _seconds(control.get("stale-if-error")) or 0
        return self.age(now) - self.lifetime <= longer

    def found_good(self, headers: Mapping[str, str], *, asked_at: float, received_at: float) -> "StoredAnswer":
        """It with the headers of a 304 (RFC 9111, 3.2 and 4.3.4)."""
        new = {name: value for name, value in headers.items() if name not in _NOT_UPDATED}
        kept = {name: value for name, value in self.received.headers.items() if name != "age"}
        updated = self.received._replace(headers={**kept, **new})
        return replace(self, received=updated, asked_at=asked_at, received_at=received_at)

    def served(self, now: float) -> Received:
        """It, with its age."""
        age = self.age(now)
        return self.received._replace(headers={**self.received.headers, "age": str(int(age))}, age=age)


def _asked(request: Request) -> dict[str, str]:
    given = {name.lower(): value for name, value in request.headers.items()}
    found = directives(given.get("cache-control", ""))
    if not found and "no-cache" in directives(given.get("pragma", "")):
        return {"no-cache": ""}
    return found


class HttpCache:
    """The answers of one partner in this process, within a bound of bytes; the least recently used go first.

    Parameters
    ----------
    key_header:
        The header with the call's key, which no answer depends on.
    """

    def __init__(self, capacity: int, *, key_header: str | None = None) -> None:
        self._aside = _OF_A_CALL | {(key_header or "").lower()}

        def size(variants: Sequence[StoredAnswer]) -> float:
            return sum(1_000 + len(one.received.body) + len(str(one.received.headers)) for one in variants)

        self._stored: BoundedCache[tuple[Any, ...], list[StoredAnswer]] = BoundedCache(capacity, size=size)

    @staticmethod
    def takes(request: Request) -> bool:
        """Whether a request is one that the cache may answer: the handler asks for no part, and under no condition."""
        return request.method == "GET" and _CONDITIONS.isdisjoint(name.lower() for name in request.headers)

    def find(self, request: Request) -> StoredAnswer | None:
        """The latest answer to a request, be it fresh or not."""
        variants = self._stored.get(self._key(request)) or []
        return next((one for one in variants if one.fits(request)), None)

    def put(self, request: Request, answer: StoredAnswer) -> None:
        """Store an answer in the place of the one that fits the same requests."""
        key = self._key(request)
        others = [one for one in self._stored.get(key) or [] if not one.fits(request)]
        self._stored.put(key, [answer, *others][:_MOST_VARIANTS])

    def drop(self, path: str) -> None:
        """Forget all answers of a path, one of which mustn't be used or was changed (RFC 9111, 4.4), whoever asked."""
        for key in [one for one in self._stored if one[0] == path]:
            self._stored.pop(key)

    def _key(self, request: Request) -> tuple[Any, ...]:
        """What is asked, and with which headers of the handler's: not every partner says what its answers vary with."""
        own = sorted(
            (name.lower(), value) for name, value in request.headers.items() if name.lower() not in self._aside
        )
        return request.path, tuple(sorted(request.query.items())), tuple(own)
