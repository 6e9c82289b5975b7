"""HTTP requests as the host sends them to the worker over the classic binding, and its metadata."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.values import LazyMetadata, Metadata

__all__ = ["encoded_path", "path_uri", "request", "request_metadata"]

_EMPTY = Datum(b"", "bytes")
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Header names that Kestrel knows, in the order and spelling in which it lists them; Content-Length follows, then the
# others in the order of their arrival.
_KNOWN = {
    name.lower(): (number, name)
    for number, name in enumerate(
        (
            "Accept", "Connection", "Host", "User-Agent", "Accept-Charset", "Accept-Encoding", "Accept-Language",
            "Access-Control-Request-Headers", "Access-Control-Request-Method", "Authorization", "baggage",
            "Cache-Control", "Content-Type", "Cookie", "Correlation-Context", "Date", "Expect", "From", "If-Match",
            "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Max-Forwards",
            "Origin", "Pragma", "Proxy-Authorization", "Proxy-Connection", "Range", "Referer", "Request-Id", "TE",
            "traceparent", "tracestate", "Transfer-Encoding", "Upgrade", "Via", "Content-Length",
        )
    )
}  # fmt: skip


def request(
    *,
    method: str,
    host: str,
    path: str,
    query_string: str,
    headers: Iterable[tuple[str, str]],
    query: Iterable[tuple[str, str]],
    route_values: Mapping[str, str],
    body: bytes,
) -> Datum:
    """The request in the host's wire form.

    Header names are in lower case; repeated headers and query values are joined by commas; query parameters without a
    value are dropped.

    Parameters
    ----------
    path
        Decoded, but for encoded slashes.
    query_string
        As it came, without the question mark.
    """
    return Datum(
        {
            "method": values.text(method),
            "url": values.text(f"http://{host}{path_uri(path)}{'?' if query_string else ''}{query_string}"),
            "headers": _joined((name.lower(), value) for name, value in headers),
            "query": _joined((name, value) for name, value in query if value),
            "params": {name: values.text(value) for name, value in route_values.items()},
            "body": Datum(body, "bytes") if body else _EMPTY,
        },
        "http",
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, Datum]:
    found: dict[str, Datum] = {}
    for name, value in pairs:
        known = found.get(name)
        found[name] = values.text(value if known is None else f"{known.value},{value}")
    return found


def path_uri(path: str) -> str:
    """A decoded path encoded again: a percent sign that begins no escape becomes one."""
    if _PLAIN.fullmatch(path):
        return path
    return _STRAY_PERCENT.sub("%25", quote(path, safe="/:@!$&'()*+,;=-._~%"))


def encoded_path(path: str) -> str:
    """A decoded path as the host's proxy encodes it for the worker: also what looks like an escape."""
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/:@!$&'()*+,;=-._~")


def request_metadata(
    *,
    headers: Iterable[tuple[str, str]],
    query: Iterable[tuple[str, str]],
    route_values: Mapping[str, str],
    body: bytes,
) -> Metadata:
    """The metadata of a request: a JSON body's properties, then the query's, then the route's, and both wholes.

    The worker's HTTP converter looks at none of it, so it is made on demand.
    """

    def make() -> Metadata:
        last = dict(query)
        named = {name: value for name, value in last.items() if name.lower() != "code"}
        return {
            **values.body_properties(body.decode("utf-8", "replace")),
            **{name: values.text(value) for name, value in (*named.items(), *route_values.items())},
            "Query": values.json_datum(last),
            "Headers": values.json_datum(_canonical(headers)),
        }

    return LazyMetadata(make)


def _canonical(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    known: dict[int, tuple[str, str]] = {}
    others: dict[str, str] = {}
    for name, value in headers:
        place = _KNOWN.get(name.lower())
        if place is None:
            others[name] = f"{others[name]},{value}" if name in others else value
        else:
            number, spelled = place
            known[number] = (spelled, f"{known[number][1]},{value}" if number in known else value)
    return {**dict(known[number] for number in sorted(known)), **others}
