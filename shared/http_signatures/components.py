"""What of a request a signature covers, as the text that is signed (RFC 9421, 2). No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from .errors import SignatureRefused
from .structured_fields import InnerList, Item, parse_dictionary, serialize

__all__ = ["SignedRequest", "component", "covers", "signature_base"]

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as its sender knows it.

    Attributes
    ----------
    url:
        Absolute, with the query.
    headers:
        By name in lower case; values of the same name joined by a comma and a space.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def component(text: str) -> Item:
    """A component's identifier, by its name, or as `Signature-Input` has it, for example `"@query-param";name="id"`.

    Raises
    ------
    SignatureRefused
    """
    if not text.startswith('"'):
        return Item(text)
    found = parse_dictionary(f"one={text}")["one"]
    if not isinstance(found, Item) or len(parse_dictionary(f"one={text}")) != 1:
        raise SignatureRefused("a component's identifier can't be read")
    return found


def signature_base(request: SignedRequest, covered: InnerList) -> bytes:
    """The text that a signature with this input is over.

    Raises
    ------
    SignatureRefused
        It covers what the request doesn't have, the same twice, or what can't be known of a request that came over
        several hops: trailers, another message, header lines one by one.
    """
    lines: list[str] = []
    seen: set[tuple[object, frozenset[tuple[str, object]]]] = set()
    for item in covered.items:
        identity = (item.value, frozenset(item.parameters.items()))
        if identity in seen:
            raise SignatureRefused("the signature covers a component twice")
        seen.add(identity)
        lines.append(f"{serialize(item)}: {_value(request, item)}")
    lines.append(f'"@signature-params": {serialize(covered)}')
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _value(request: SignedRequest, item: Item) -> str:
    name = item.value
    if not isinstance(name, str) or name != name.lower():
        raise SignatureRefused("the signature covers a component whose name isn't in lower case")
    value = _derived(request, item) if name.startswith("@") else _header(request, item, name)
    if "\n" in value or "\r" in value:
        raise SignatureRefused("a component that the signature covers has a line break")
    return value


def _header(request: SignedRequest, item: Item, name: str) -> str:
    if name not in request.headers:
        raise SignatureRefused(f"the signature covers the header {name[:64]}, which is missing")
    value = request.headers[name].strip(" \t")
    if not item.parameters:
        return value
    key = item.parameters.get("key")
    if set(item.parameters) != {"key"} or not isinstance(key, str):
        raise SignatureRefused("the signature covers a header in a way that isn't known here")
    member = parse_dictionary(value).get(key)
    if member is None:
        raise SignatureRefused(f"the signature covers a member of {name[:64]}, which is missing")
    return serialize(member)


def _derived(request: SignedRequest, item: Item) -> str:
    try:
        parts = urlsplit(request.url)
    except ValueError:
        raise SignatureRefused("the address isn't one") from None
    if item.value == "@query-param":
        return _query_parameter(parts.query, item)
    if item.parameters:
        raise SignatureRefused("the signature covers a derived component in a way that isn't known here")
    path, query = parts.path or "/", f"?{parts.query}"
    match item.value:
        case "@method":
            return request.method
        case "@target-uri":
            return request.url
        case "@authority":
            return _authority(request.url)
        case "@scheme":
            return parts.scheme.lower()
        case "@request-target":
            return path + (query if parts.query else "")
        case "@path":
            return path
        case "@query":
            return query
    raise SignatureRefused("the signature covers a derived component that isn't known")


def _authority(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SignatureRefused("the address isn't one") from None
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None or port == _PORTS.get(parts.scheme) else f"{shown}:{port}"


def _query_parameter(query: str, item: Item) -> str:
    name = item.parameters.get("name")
    if set(item.parameters) != {"name"} or not isinstance(name, str):
        raise SignatureRefused("the signature covers a query parameter without naming it")
    try:
        found = [value for key, value in parse_qsl(query, keep_blank_values=True) if _percent(key) == name]
    except ValueError:
        raise SignatureRefused("the query can't be read") from None
    if len(found) != 1:
        raise SignatureRefused("the signature covers a query parameter that is missing, or there several times")
    return _percent(found[0])


def _percent(text: str) -> str:
    """As the URL standard percent-encodes the parts of a form, but for blanks."""
    return quote(text, safe="*-._").replace("~", "%7E")


def covers(covered: InnerList, wanted: Sequence[Item]) -> bool:
    """Whether a signature is over every one of these."""
    found = {(one.value, frozenset(one.parameters.items())) for one in covered.items}
    return all((one.value, frozenset(one.parameters.items())) in found for one in wanted)
