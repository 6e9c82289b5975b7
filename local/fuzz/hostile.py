"""Hostile HTTP requests as bytes on the wire, each made from its own random numbers."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["HostileRequest", "hostile_request"]

_ROUTES = ("orders", "orders", "orders", "messages", "credit-notes")
_READ = ("orders/{}", "credit-notes/{}", "orders", "credit-notes", "operations/{}", "health", "health/ready", "docs")
_METHODS = ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "post", "G" * 300, "M-SEARCH")
_PATH_PARTS = (
    "..", ".", "%2e%2e", "%2F", "%5c", "%00", "%ff", "%C0%AF", "%", "%zz", "é", "日本", "😀", "\\", ";a=1", "a b",
    "%0d%0aX: y", "x" * 3_000, "//", "{key}", "'", "$filter", "-1", "NaN", "%F0%9F%98%80", "+", "~", "admin", "*",
)  # fmt: skip
_QUERIES = (
    "", "", "", "?", "?top=5", "?top=-1", "?top=1e9&top=2", "?after=%00", "?customerId=C7", "?customerId=%ff&x",
    "?a" * 40, "?%00=1", "?status=moving", "?" + "a=1&" * 400, "?code=1", "?customerId=" + "x" * 4_000, "?=", "?&&",
)  # fmt: skip
_KINDS = (
    "application/json", "application/json", "application/json", "application/cloudevents+json", "text/plain", "",
    "application/json; charset=utf-16", 'application/json; a="' + ";" * 500, "multipart/form-data; boundary=x", ";",
    "*/*", "application/json\x00", "APPLICATION/JSON;charset=UTF8", "application/x-ndjson", "a" * 5_000,
)  # fmt: skip
_HEADERS = (
    ("Content-Encoding", ("gzip", "br", "identity", "", "gzip, gzip", "\xff")),
    ("Idempotency-Key", ("x", "00000000-0000-0000-0000-000000000000", "", "é", "{", "9" * 900)),
    ("X-Correlation-ID", ("a", "a b", "\xe9", "x" * 4_000, "\x01", "")),
    ("traceparent", ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-0-0-0", "x" * 3_000, "\xff", "", "é")),
    ("tracestate", ("a=b", "\xff", "," * 900)),
    ("baggage", ("a=b", "=" * 3_000, "\xff")),
    ("Expect", ("100-continue", "200-ok")),
    ("Accept", ("*/*", "text/html", "\xff", "application/xml;q=" + "9" * 400)),
    ("Range", ("bytes=0-1", "bytes=-", "x" * 99)),
    ("If-Match", ("*", "x")),
    ("Host", ("evil.example", "", "a b", "[::1", "localhost:99999999")),
    ("X-Forwarded-For", ("1.2.3.4", "x" * 2_000)),
    ("X-Forwarded-Host", ("evil.example",)),
    ("X-HTTP-Method-Override", ("DELETE",)),
    ("Upgrade", ("websocket", "h2c")),
    ("Connection", ("close", "keep-alive, Upgrade", "Content-Length", "\xff")),
    ("Cookie", ("a=b", "=" * 2_000)),
    ("x-functions-key", ("x", "")),
    ("Sluice-Client", ("x",)),
    ("Content-Length", ("-1", "1e3", "9" * 30, "0", "+5", "5, 5", "")),
    ("Transfer-Encoding", ("gzip", "chunked, chunked", "identity", "\x0bchunked")),
    ("\x00", ("x",)),
    ("A" * 900, ("x" * 900,)),
)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -0.0, 10**18, 10**30, 0.1, "", " ", "\x00", "\ud800", "😀" * 200, "x" * 20_000,
    [], {}, [[]], [None] * 300, {"": ""}, {"$ref": "#"}, "2010-12-01T08:26:00", "20260105", "NaN", "1e999999999", "a/b",
    "%2F", "../..", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z", "'; DROP TABLE", "${jndi:x}", "\u202e",
    "e\u0301", "\ufeff", 1.5,
)  # fmt: skip
_UUID = "9f0e2c6a-8f8e-4a52-9b5d-{:012x}"


@dataclass(frozen=True, kw_only=True)
class HostileRequest:
    """The bytes in the pieces in which they are written, and what they are, in short.

    `is_complete` tells whether an honest server has all it needs for an answer.
    """

    pieces: tuple[bytes, ...]
    method: str
    about: str
    is_complete: bool


def hostile_request(random: Random, tokens: Sequence[str], *, run: str) -> HostileRequest:
    """A request of which some part, or every part, is wrong; one in a few is right.

    Parameters
    ----------
    tokens:
        Bearer tokens that hold.
    run:
        Goes into keys, so that two runs don't change the same rows.
    """
    method = "POST" if random.random() < 0.7 else random.choice(_METHODS)
    path = _path(random, method)
    body = _body(random, run) if method not in ("GET", "HEAD") or random.random() < 0.1 else b""
    headers = _headers(random, tokens)
    head, is_complete, body = _framed(random, method, path, headers, body)
    about = f"{method[:12]} {path[:80]!r} {len(body)} bytes {body[:60]!r}"
    return HostileRequest(
        pieces=tuple(_split(random, head + body)), method=method, about=about, is_complete=is_complete
    )


def _path(random: Random, method: str) -> str:
    if method == "POST" and random.random() < 0.85:
        return "/api/" + random.choice(_ROUTES) + (random.choice(_QUERIES) if random.random() < 0.1 else "")
    part = random.choice(_PATH_PARTS) if random.random() < 0.6 else f"F-{random.randrange(1_000)}"
    path = "/api/" + random.choice((*_READ, *_ROUTES)).format(part)
    if random.random() < 0.15:
        at = random.randrange(len(path) + 1)
        path = path[:at] + random.choice(_PATH_PARTS) + path[at:]
    if random.random() < 0.02:
        path = random.choice(
            ("*", "", "http://evil.example/api/orders", "/", "/api", "/API/orders", "/admin/host/status")
        )
    return path + random.choice(_QUERIES)


def _headers(random: Random, tokens: Sequence[str]) -> list[tuple[str, str]]:
    headers = [("Host", "localhost")] if random.random() < 0.98 else []
    headers += [("Content-Type", random.choice(_KINDS) if random.random() < 0.3 else "application/json")]
    headers += _credential(random, tokens)
    while random.random() < 0.3:
        name, values = random.choice(_HEADERS)
        headers += [(name, random.choice(values))] * (2 if random.random() < 0.1 else 1)
    if random.random() < 0.01:
        headers += [(f"X-{number}", "y" * 50) for number in range(random.choice((90, 300, 1_500)))]
    return headers


def _credential(random: Random, tokens: Sequence[str]) -> list[tuple[str, str]]:
    chance = random.random()
    if chance < 0.8:
        return [("Authorization", f"Bearer {random.choice(tokens)}")]
    token = random.choice(tokens)
    at = random.randrange(len(token))
    odd = random.choice(".=A\x00é ")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return random.choice(
        (
            [],
            [("Authorization", f"Bearer {token[:at]}{odd}{token[at + 1 :]}")],
            [("Authorization", f"Bearer {none}.{token.split('.')[1]}.")],
            [("Authorization", f"Bearer {token[:at]}")],
            [("Authorization", "Bearer " + "." * 3_000)],
            [("Authorization", "Basic \xff\xfe")],
            [("Authorization", "")],
            [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")],
            [("x-api-key", "x" * random.choice((0, 1, 43, 5_000)))],
            [("x-api-key", "sk_\xe9")],
        )
    )


def _body(random: Random, run: str) -> bytes:
    data: dict[str, Any] = {
        "orderId": f"F-{run}-{random.randrange(1_000)}",
        "placedAt": "2026-01-05T08:26:00Z",
        "country": "France",
        "customerId": "C7",
        "lines": [{"sku": "LANTERN", "quantity": 6, "unitPrice": 2.55}] * random.choice((1, 1, 2, 120)),
    }
    form = random.random()
    message: dict[str, Any] = data
    if form < 0.3:
        message = {
            "messageId": _UUID.format(random.randrange(2**20)),
            "timestamp": "2026-01-05T08:26:30Z",
            "source": "fuzz",
            "eventType": "order.placed",
            "version": "1.0",
            "data": data,
        }
    elif form < 0.45:
        message = {"specversion": "1.0", "id": "1", "type": "order.placed", "source": "fuzz", "data": data}
    while random.random() < 0.4:
        _spoil(random, message)
    text = json.dumps(message, ensure_ascii=random.random() < 0.7)
    body = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.25:
        body = _spoiled_bytes(random, body)
    return body


def _spoil(random: Random, message: dict[str, Any]) -> None:
    """Change a field somewhere in it: leave it out, replace it, add one, or put one list or object into another."""
    place: Any = message
    while random.random() < 0.5:
        inner = [
            one
            for one in (place.values() if isinstance(place, dict) else place)
            if isinstance(one, dict | list) and one
        ]
        if not inner:
            break
        place = random.choice(inner)
    value = deepcopy(random.choice(_VALUES))
    if isinstance(place, list):
        place[random.randrange(len(place))] = value
    elif random.random() < 0.2:
        place[random.choice(("extra", "", "__proto__", "x" * 500, "message_id", "Data", "\x00"))] = value
    elif place:
        name = random.choice(list(place))
        if random.random() < 0.2:
            del place[name]
        else:
            place[name] = value


def _spoiled_bytes(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body) + 1)
    return random.choice(
        (
            lambda: b"",
            lambda: body[:at],
            lambda: body[:at] + random.randbytes(random.randrange(1, 9)) + body[at:],
            lambda: body[:at] + bytes([random.randrange(256)]) + body[at + 1 :],
            lambda: body + body,
            lambda: b"\xef\xbb\xbf" + body,
            lambda: body.decode("utf-8", "replace").encode("utf-16"),
            lambda: b"[" * random.choice((70, 5_000, 100_000)),
            lambda: b'{"a":' * random.choice((70, 5_000)) + b"1" + b"}" * 70,
            lambda: body.replace(
                b"2.55", random.choice((b"1e999", b"-0", b"9" * 5_000, b"0x1", b"1_0", b"NaN", b"1E400"))
            ),
            lambda: body.replace(b'"country"', b'"orderId": "x", "country"'),
            lambda: random.randbytes(random.choice((1, 100, 5_000))),
            lambda: b" " * random.choice((10, 300_000)) + body,
            lambda: b"null",
            lambda: b'"' + b"\\ud800" * 10 + b'"',
        )
    )()


def _framed(
    random: Random, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[bytes, bool, bytes]:
    """The head, whether all that it promises comes, and the body as it is sent."""
    named = {name for name, _ in headers}
    is_complete = named.isdisjoint(("Content-Length", "Transfer-Encoding", "Upgrade", "Expect"))
    if is_complete and (body or method in ("POST", "PUT", "PATCH")):
        way = random.random()
        if way < 0.85:
            headers = [*headers, ("Content-Length", str(len(body)))]
        elif way < 0.95:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
            body, is_complete = _chunked(random, body)
        else:
            headers = [*headers, ("Content-Length", str(max(0, len(body) + random.choice((-5, 5, 10_000)))))]
            is_complete = False
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    end = "\r\n" if random.random() < 0.99 else "\n"
    return (end.join(lines) + end + end).encode("utf-8", "surrogatepass"), is_complete and end == "\r\n", body


def _chunked(random: Random, body: bytes) -> tuple[bytes, bool]:
    step = random.choice((1, 7, 100, 70_000)) if len(body) < 2_000 else 70_000
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    if random.random() < 0.8:
        return b"".join(parts) + b"0\r\n\r\n", True
    wrong = random.choice((b"zz\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabc", b"0\r\nX: y\r\n\r\n", b""))
    return b"".join(parts) + wrong, False


def _split(random: Random, whole: bytes) -> list[bytes]:
    if random.random() < 0.8 or len(whole) < 3:
        return [whole]
    cuts = sorted(random.sample(range(1, len(whole)), min(len(whole) - 1, random.choice((1, 2, 5, 20)))))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
