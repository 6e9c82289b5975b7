"""What the return value of a classic HTTP function becomes: texts read as JSON, cookies and headers checked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from azure.functions.meta import Datum

from local_azure.host.trigger_data import net_json

__all__ = ["Answer", "answer_of"]

_PLAIN = "text/plain; charset=utf-8"
_INT = range(-(2**31), 2**31)
_NUMBER = re.compile(r"\s*[+-]?\d+\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LIST = "System.Collections.Generic.List`1[System.Object]"


@dataclass(frozen=True, slots=True)
class Answer:
    """A buffered response."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class _Failed(ValueError):
    """The host itself fails over the answer, which makes it a 500 without anything."""


def answer_of(datum: Datum | None) -> Answer:
    """What the caller gets for the encoded return value of an HTTP function."""
    if datum is None or datum.type is None:
        return Answer()
    try:
        answer = _from_http(datum.value) if datum.type == "http" else _from_text(datum.value)
    except (_Failed, ValueError, OverflowError):
        return Answer(500)
    return _sendable(answer)


def _sendable(answer: Answer) -> Answer:
    """Control characters fail at once; other characters beyond ASCII when the content type is set already."""
    everything = "".join([part for pair in answer.headers for part in pair])
    if _CONTROL.search(everything):
        return Answer(500)
    if everything.isascii():
        return answer
    return Answer(500, [(name, value) for name, value in answer.headers if name.lower() == "content-type"])


def _from_http(value: Mapping[str, Any]) -> Answer:
    headers = [(name, each.value) for name, each in value["headers"].items()]
    for cookie in value["cookies"] or ():
        headers += [("Set-Cookie", _cookie(name, morsel)) for name, morsel in cookie.items()]
    return Answer(int(value["status_code"].value), headers, value["body"].value)


def _cookie(name: str, morsel: Any) -> str:
    """A cookie as ASP.NET writes it; the worker sends domain and path also where they are empty."""
    parts = [f"{quote(name, safe='')}={quote(morsel.value, safe='')}"]
    if morsel["expires"]:
        parts.append(f"expires={format_datetime(parsedate_to_datetime(morsel['expires']), usegmt=True)}")
    if morsel["max-age"]:
        parts.append(f"max-age={int(float(morsel['max-age']))}")
    parts += [f"domain={morsel['domain']}", f"path={morsel['path']}"]
    if morsel["secure"]:
        parts.append("secure")
    if morsel["samesite"].lower() in ("lax", "strict", "none"):
        parts.append(f"samesite={morsel['samesite'].lower()}")
    if morsel["httponly"]:
        parts.append("httponly")
    return "; ".join(parts)


def _from_text(text: str) -> Answer:
    """A returned string is the body, written again if it is JSON; an object with a `body` is the whole response."""
    try:
        content = net_json.parsed(text)
    except ValueError:
        return Answer(200, [("Content-Type", _PLAIN)], text.encode())
    if not isinstance(content, dict) or _find(content, "body") is _MISSING:
        shown = net_json.indented(content) if isinstance(content, dict | list) else net_json.scalar_text(content)
        return Answer(200, [("Content-Type", _PLAIN)], (shown or "").encode())
    return _from_object(content)


_MISSING = object()


def _find(content: Mapping[str, Any], name: str) -> Any:
    if name in content:
        return content[name]
    return next((value for key, value in content.items() if key.lower() == name.lower()), _MISSING)


def _from_object(content: Mapping[str, Any]) -> Answer:
    given = _find(content, "headers")
    headers = [(name, _header(value)) for name, value in given.items()] if isinstance(given, dict) else []
    kind = next((value for name, value in headers if name.lower() == "content-type"), _PLAIN)
    if "charset" not in kind.lower():
        kind = f"{kind}; charset=utf-8"
    rest = [(name, value) for name, value in headers if name.lower() != "content-type"]
    return Answer(_status(content), [("Content-Type", kind), *_first_of_each(rest)], _body(content).encode())


def _first_of_each(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), (name, value))
    return list(found.values())


def _header(value: Any) -> str:
    if value is None:
        raise _Failed("a header without a value")
    if isinstance(value, dict | list):
        return _LIST if isinstance(value, list) else "System.Dynamic.ExpandoObject"
    return net_json.scalar_text(value) or ""


def _status(content: Mapping[str, Any]) -> int:
    """`statusCode` before `status`; what is neither a whole number nor the text of one is 200."""
    value = _find(content, "statusCode")
    if value is _MISSING:
        value = _find(content, "status")
    if isinstance(value, int) and not isinstance(value, bool):
        if value not in _INT:
            raise _Failed("a status beyond 32 bits")
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value) and int(value) in _INT:
        return int(value)
    return 200


def _body(content: Mapping[str, Any]) -> str:
    body = _find(content, "body")
    if isinstance(body, dict):
        return net_json.json_text(body)
    if isinstance(body, list):
        return _LIST
    return net_json.scalar_text(body) or ""
