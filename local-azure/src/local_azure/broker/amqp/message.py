"""Messages as they travel: sections found without decoding them, headers and annotations set anew.

A broker may change the header and the annotations; the bare message and the footer pass byte for byte
(messaging part 3.2). So a message is kept as those bytes, and only what the broker owns is encoded again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

from local_azure.broker.amqp.decode import decode, decode_fields, skip
from local_azure.broker.amqp.encode import encode, encode_map_items
from local_azure.broker.amqp.errors import DecodeError
from local_azure.broker.amqp.types import Described, Fields, Symbol, Timestamp, UInt, ULong

__all__ = [
    "BATCH_FORMAT",
    "Header",
    "Properties",
    "Sections",
    "data_sections",
    "encode_annotations",
    "encode_application_properties",
    "encode_delivery_annotations",
    "encode_header",
    "encode_message",
    "encode_properties",
    "scan",
]

BATCH_FORMAT: Final = 0x80013700
"""Message format of a batch: every data section is one encoded message."""

_HEADER, _DELIVERY_ANNOTATIONS, _MESSAGE_ANNOTATIONS = 0x70, 0x71, 0x72
_PROPERTIES, _APPLICATION_PROPERTIES = 0x73, 0x74
_DATA, _SEQUENCE, _VALUE, _FOOTER = 0x75, 0x76, 0x77, 0x78


@dataclass(frozen=True, slots=True)
class Header:
    """The header section; `ttl` is in milliseconds."""

    durable: bool | None = None
    priority: int | None = None
    ttl: int | None = None


NO_HEADER: Final = Header()


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties section, types as the sender chose them."""

    message_id: Any = None
    user_id: bytes | None = None
    to: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: Any = None
    content_type: str | None = None
    content_encoding: str | None = None
    absolute_expiry_time: int | None = None
    creation_time: int | None = None
    group_id: str | None = None
    group_sequence: int | None = None
    reply_to_group_id: str | None = None


@dataclass(slots=True)
class Sections:
    """Where the values of a message's sections lie in `data`; 0 stands for a section that is not there.

    `bare` is where the bare message begins, `body` where its body does.
    """

    data: bytes
    header_at: int = 0
    annotations_at: int = 0
    properties_at: int = 0
    application_properties_at: int = 0
    bare: int = 0
    body: int = 0
    _properties: Properties | None = field(default=None, repr=False)

    @property
    def header(self) -> Header:
        """The decoded header, with every field null if there is none."""
        if not self.header_at:
            return NO_HEADER
        values, _ = decode_fields(self.data, self.header_at, len(self.data))
        values += [None] * (3 - len(values))
        durable, priority, ttl = values[:3]
        if (
            not isinstance(durable, bool | None)
            or not isinstance(priority, int | None)
            or not isinstance(ttl, int | None)
        ):
            raise DecodeError("A field of the message header has the wrong type")
        return Header(durable, priority, ttl)

    @property
    def annotations(self) -> dict[Any, Any]:
        """The message annotations; empty if there are none."""
        return self._map(self.annotations_at)

    @property
    def properties(self) -> Properties:
        """The properties section, decoded once."""
        if self._properties is None:
            values: list[Any] = []
            if self.properties_at:
                values, _ = decode_fields(self.data, self.properties_at, len(self.data))
            self._properties = Properties(*values[:13])
        return self._properties

    @property
    def application_properties(self) -> dict[Any, Any]:
        """The application properties; empty if there are none."""
        return self._map(self.application_properties_at)

    def value_body(self) -> Any:
        """The value of an amqp-value body, or None when the body is of another kind."""
        if self.body >= len(self.data):
            return None
        section, _ = decode(self.data, self.body, len(self.data))
        return section.value if isinstance(section, Described) and section.descriptor == _VALUE else None

    @property
    def has_message_id(self) -> bool:
        """Whether the first field of the properties is there."""
        count, items_at = self._property_items()
        return count > 0 and self.data[items_at : items_at + 1] != b"\x40"

    def with_message_id(self, message_id: str) -> bytes:
        """The bare message with an id where it has none; every other byte stays."""
        count, items_at = self._property_items()
        after = skip(self.data, self.properties_at, len(self.data)) if self.properties_at else self.bare
        items = encode(message_id) + (self.data[items_at + 1 : after] if count else b"")
        head = struct.pack(">3sBII", bytes((0, 0x53, _PROPERTIES)), 0xD0, len(items) + 4, max(count, 1))
        return head + items + self.data[after:]

    def _property_items(self) -> tuple[int, int]:
        """How many properties there are, and where the first one lies."""
        at = self.properties_at
        if not at or self.data[at] == 0x45:
            return 0, at
        if self.data[at] == 0xC0:
            return self.data[at + 2], at + 3
        if self.data[at] == 0xD0:
            return int.from_bytes(self.data[at + 5 : at + 9]), at + 9
        raise DecodeError("The properties of a message are not a list")

    def rebuilt(self, properties: Properties | None, application_properties: dict[Any, Any]) -> bytes:
        """The bare message with other application properties, and other properties unless None."""
        head = self._properties_section if properties is None else encode_properties(properties)
        return head + encode_application_properties(application_properties) + self.data[self.body :]

    @property
    def _properties_section(self) -> bytes:
        if not self.properties_at:
            return b""
        return self.data[self.bare : skip(self.data, self.properties_at, len(self.data))]

    def _map(self, position: int) -> dict[Any, Any]:
        if not position:
            return {}
        value, _ = decode(self.data, position, len(self.data))
        if not isinstance(value, dict):
            raise DecodeError("A section that has to be a map is something else")
        return value


def scan(data: bytes) -> Sections:
    """Find the sections of a message up to its body; the body is not looked into.

    Raises
    ------
    DecodeError
        If the sections are malformed or out of order.
    """
    end = len(data)
    sections = Sections(data, bare=end, body=end)
    position = previous = 0
    while position < end:
        code, value_at = _section(data, position, end)
        if code <= previous:
            raise DecodeError("The sections of a message are out of order")
        previous = code
        if code >= _PROPERTIES:
            sections.bare = min(sections.bare, position)
        if code >= _DATA:
            sections.body = position
            break
        _place(sections, code, value_at)
        position = skip(data, value_at, end)
    return sections


def _place(sections: Sections, code: int, value_at: int) -> None:
    if code == _HEADER:
        sections.header_at = value_at
    elif code == _MESSAGE_ANNOTATIONS:
        sections.annotations_at = value_at
    elif code == _PROPERTIES:
        sections.properties_at = value_at
    elif code == _APPLICATION_PROPERTIES:
        sections.application_properties_at = value_at


def _section(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Code of the section at `position`, and where its value begins."""
    if end - position > 3 and data[position] == 0:
        if data[position + 1] == 0x53:
            code, value_at = data[position + 2], position + 3
        elif data[position + 1] == 0x80 and end - position > 10:
            code, value_at = int.from_bytes(data[position + 2 : position + 10]), position + 10
        else:
            code, value_at = 0, 0
        if _HEADER <= code <= _FOOTER:
            return code, value_at
    raise DecodeError("A message section does not begin with a known descriptor")


def data_sections(data: bytes, position: int) -> Iterator[bytes]:
    """The contents of the data sections from `position` on; other sections are passed over."""
    end = len(data)
    while position < end:
        code, value_at = _section(data, position, end)
        after = skip(data, value_at, end)
        if code == _DATA:
            kind = data[value_at]
            if kind not in (0xA0, 0xB0):
                raise DecodeError("A data section does not hold binary")
            yield data[value_at + (2 if kind == 0xA0 else 5) : after]
        position = after


_FLAGS: Final[dict[bool | None, bytes]] = {None: b"\x40", False: b"\x42", True: b"\x41"}
_pack_uint = struct.Struct(">BI").pack


def encode_header(header: Header, delivery_count: int) -> bytes:
    """A header section; `delivery_count` is the number of failed deliveries before this one."""
    body = b"".join(
        (
            _FLAGS[header.durable],
            b"\x40" if header.priority is None else bytes((0x50, header.priority)),
            b"\x40" if header.ttl is None else _pack_uint(0x70, header.ttl),
            b"\x42",
            _pack_uint(0x70, delivery_count),
        )
    )
    return bytes((0, 0x53, _HEADER, 0xC0, len(body) + 1, 5)) + body


def encode_annotations(pairs: bytes, count: int, code: int = _MESSAGE_ANNOTATIONS) -> bytes:
    """An annotations section from encoded keys and values; `count` counts both."""
    return struct.pack(">3sBII", bytes((0, 0x53, code)), 0xD1, len(pairs) + 4, count) + pairs


def encode_delivery_annotations(annotations: dict[str, Any]) -> bytes:
    """A delivery annotations section."""
    pairs = encode_map_items(Fields(annotations))
    return encode_annotations(pairs, 2 * len(annotations), _DELIVERY_ANNOTATIONS)


def encode_application_properties(properties: dict[Any, Any]) -> bytes:
    """An application properties section."""
    return encode(Described(ULong(_APPLICATION_PROPERTIES), properties))


def encode_properties(properties: Properties) -> bytes:
    """A properties section; names and times get the types that the specification gives them."""
    values = [_typed(name, getattr(properties, name)) for name in _PROPERTY_NAMES]
    return encode(Described(ULong(_PROPERTIES), values))


_PROPERTY_NAMES: Final = tuple(each.name for each in fields(Properties))
_PROPERTY_TYPES: Final[dict[str, Callable[[Any], Any]]] = {
    "content_type": Symbol,
    "content_encoding": Symbol,
    "absolute_expiry_time": Timestamp,
    "creation_time": Timestamp,
    "group_sequence": UInt,
}


def _typed(name: str, value: Any) -> Any:
    kind = _PROPERTY_TYPES.get(name)
    return value if kind is None or value is None else kind(value)


def encode_message(
    *, properties: Properties | None = None, application_properties: dict[str, Any], body: Any = None
) -> bytes:
    """A message of the broker's own, such as a management reply, with an amqp-value body."""
    parts = []
    if properties is not None:
        parts.append(encode_properties(properties))
    parts.append(encode_application_properties(application_properties))
    parts.append(encode(Described(ULong(_VALUE), body)))
    return b"".join(parts)
