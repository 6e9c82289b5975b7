"""The classic HTTP binding: a buffered request as the worker sees it, and what its answer becomes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.functions.meta import Datum

__all__ = ["Answer", "answer_of", "request_datum"]

_EMPTY = Datum(b"", "bytes")


@dataclass(frozen=True, slots=True)
class Answer:
    """A buffered response."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def request_datum(
    *,
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    query: Iterable[tuple[str, str]],
    route_values: Mapping[str, str],
    body: bytes,
) -> Datum:
    """The request in the host's wire form.

    Header names are in lower case; repeated headers and query values are joined by commas; query
    parameters without a value are dropped.
    """
    return Datum(
        {
            "method": Datum(method, "string"),
            "url": Datum(url, "string"),
            "headers": _joined((name.lower(), value) for name, value in headers),
            "query": _joined((name, value) for name, value in query if value),
            "params": {name: Datum(value, "string") for name, value in route_values.items()},
            "body": Datum(body, "bytes") if body else _EMPTY,
        },
        "http",
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, Datum]:
    values: dict[str, Datum] = {}
    for name, value in pairs:
        known = values.get(name)
        values[name] = Datum(value if known is None else f"{known.value},{value}", "string")
    return values


def answer_of(datum: Datum | None) -> Answer:
    """What the caller gets for the encoded return value of an HTTP function."""
    if datum is None or datum.type is None:
        return Answer()
    if datum.type == "http":
        return _from_http(datum.value)
    if datum.type == "string":
        return _from_text(datum.value)
    return Answer(body=datum.value)


def _from_http(value: Mapping[str, Any]) -> Answer:
    headers = [(name, each.value) for name, each in value["headers"].items()]
    for cookie in value["cookies"] or ():
        headers += [("Set-Cookie", morsel.OutputString()) for morsel in cookie.values()]
    return Answer(int(value["status_code"].value), headers, value["body"].value)


def _from_text(text: str) -> Answer:
    """A returned string is the body, unless it is a JSON object with `body` or `status`: that is the response."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not ({"body", "status", "statusCode"} & content.keys()):
        return Answer(200, [("Content-Type", "text/plain; charset=utf-8")], text.encode())
    status = content.get("status", content.get("statusCode", 200))
    given = content.get("headers")
    headers = [(str(name), str(value)) for name, value in given.items()] if isinstance(given, dict) else []
    body = content.get("body", "")
    if not any(name.lower() == "content-type" for name, _ in headers):
        plain = isinstance(body, str)
        headers.append(("Content-Type", f"{'text/plain' if plain else 'application/json'}; charset=utf-8"))
    return Answer(int(status or 200), headers, (body if isinstance(body, str) else json.dumps(body)).encode())
