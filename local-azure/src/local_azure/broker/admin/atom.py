"""Reads and writes the Atom XML around descriptions.

Requests are read by local names, whatever prefixes an SDK chose. Answers declare default namespaces element by
element and use the service's own prefixes (`i:`, `d2p1:`), because some SDKs look for names as they are written.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, tostring

from local_azure.broker.admin.errors import bad_request

__all__ = [
    "INSTANCE_NAMESPACE",
    "SCHEMA_NAMESPACE",
    "Entry",
    "add",
    "child",
    "content_of",
    "description",
    "error_document",
    "feed",
    "format_time",
    "local_name",
    "to_bytes",
    "type_of",
    "write_entry",
]

ATOM_NAMESPACE = "http://www.w3.org/2005/Atom"
SERVICE_BUS_NAMESPACE = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
INSTANCE_NAMESPACE = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA_NAMESPACE = "http://www.w3.org/2001/XMLSchema"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Entry(NamedTuple):
    """One entity in an answer: its name, its address and its description."""

    title: str
    url: str
    content: Element
    published: datetime
    updated: datetime


# -- reading ----------------------------------------------------------------------------------------------


def content_of(body: bytes) -> Element:
    """The description inside an Atom entry. Raises `RequestError` (400) for anything else."""
    entry = _parse(body)
    content = child(entry, "content") if _local(entry.tag) == "entry" else None
    if content is None or len(content) != 1:
        raise bad_request("The body is not an Atom entry whose content is one description")
    return content[0]


def _parse(body: bytes) -> Element:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise bad_request("The body is not UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise bad_request("A document type is not allowed")
    try:
        return fromstring(text)  # noqa: S314 (entities, the danger, were refused above)
    except (ParseError, ValueError) as error:
        raise bad_request(f"The body is not well-formed XML: {error}") from None


def child(parent: Element, name: str) -> Element | None:
    """The first child of that name in any namespace."""
    return next((element for element in parent if local_name(element) == name), None)


def local_name(element: Element) -> str:
    """An element's name without its namespace."""
    return _local(element.tag)


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def type_of(element: Element) -> str:
    """The value of `xsi:type` without prefix; empty if there is none."""
    named = element.get(f"{{{INSTANCE_NAMESPACE}}}type") or element.get("type") or ""
    return named.rpartition(":")[2]


# -- writing ----------------------------------------------------------------------------------------------


def description(name: str) -> Element:
    """An empty description, such as `QueueDescription`."""
    return Element(name, {"xmlns": SERVICE_BUS_NAMESPACE, "xmlns:i": INSTANCE_NAMESPACE})


def add(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    """Append a child element."""
    element = SubElement(parent, name, attributes)
    element.text = text
    return element


def format_time(time: datetime) -> str:
    """A time as the service writes it, in UTC."""
    utc = time.astimezone(UTC) if time.tzinfo else time
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond:06d}Z"


def write_entry(entry: Entry) -> bytes:
    """An answer about one entity."""
    element = _entry_element(entry)
    element.set("xmlns", ATOM_NAMESPACE)
    return to_bytes(element)


def feed(title: str, url: str, entries: Iterable[Entry], *, next_url: str | None, updated: datetime) -> bytes:
    """An answer that lists entities; `next_url` leads to the rest of them."""
    element = Element("feed", {"xmlns": ATOM_NAMESPACE})
    add(element, "title", title, type="text")
    add(element, "id", url)
    add(element, "updated", format_time(updated))
    add(element, "link", rel="self", href=url)
    if next_url is not None:
        add(element, "link", rel="next", href=next_url)
    element.extend(_entry_element(entry) for entry in entries)
    return to_bytes(element)


def _entry_element(entry: Entry) -> Element:
    element = Element("entry")
    add(element, "id", entry.url)
    add(element, "title", entry.title, type="text")
    add(element, "published", format_time(entry.published))
    add(element, "updated", format_time(entry.updated))
    add(add(element, "author"), "name", "emulator")
    add(element, "link", rel="self", href=entry.url)
    add(element, "content", type="application/xml").append(entry.content)
    return element


def error_document(status: int, sub_code: int, detail: str) -> bytes:
    """The body of an error answer, as the service writes it."""
    element = Element("Error")
    add(element, "Code", str(status))
    add(element, "Detail", f"SubCode={sub_code}. {detail}")
    return to_bytes(element)


def to_bytes(element: Element) -> bytes:
    """A whole document; characters that XML 1.0 does not know are replaced."""
    for part in element.iter():
        if part.text:
            part.text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", part.text)
    return b'<?xml version="1.0" encoding="utf-8"?>' + tostring(element, encoding="unicode").encode()
