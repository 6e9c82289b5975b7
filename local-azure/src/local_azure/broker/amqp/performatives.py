"""The frame bodies of AMQP 1.0 (transport part 2.7, security part 5.3.3).

Every field is written, nulls included: some clients index into the list and fail on a short one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

from local_azure.broker.amqp.decode import decode_fields
from local_azure.broker.amqp.encode import encode, encode_to
from local_azure.broker.amqp.errors import DecodeError
from local_azure.broker.amqp.scalars import ANY, BINARY, FLAG, UBYTE, UINT, decode_scalars
from local_azure.broker.amqp.types import Array, Described, Fields, Raw, Symbol, UByte, UInt, ULong, UShort

__all__ = [
    "Attach",
    "Begin",
    "Close",
    "Detach",
    "Disposition",
    "End",
    "Flow",
    "Open",
    "Performative",
    "SaslInit",
    "SaslMechanisms",
    "SaslOutcome",
    "Terminus",
    "Transfer",
    "decode_performative",
    "encode_disposition",
    "encode_transfer",
]


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field is checked when it arrives and typed when it leaves."""

    accepts: type | tuple[type, ...]
    writes: Callable[[Any], Any] = lambda value: value
    required: bool = False
    limit: int | None = None
    """Greatest whole number that the type holds."""


_UINT = _Field(int, UInt, limit=0xFFFFFFFF)
_UINT_REQUIRED = _Field(int, UInt, required=True, limit=0xFFFFFFFF)
_USHORT = _Field(int, UShort, limit=0xFFFF)
_UBYTE = _Field(int, UByte, limit=0xFF)
_ULONG = _Field(int, ULong, limit=0xFFFFFFFFFFFFFFFF)
_TEXT = _Field(str)
_TEXT_REQUIRED = _Field(str, required=True)
_FLAG = _Field(bool)
_BINARY = _Field(bytes)
_MAP = _Field(dict)
_FIELDS = _Field(dict, Fields)
_SYMBOLS = _Field((str, Array), lambda names: Array(0xB3, tuple(Symbol(name) for name in names)))
_ANY = _Field(object)


@dataclass(slots=True, kw_only=True)
class Performative:
    """Base of the frame bodies; subclasses are plain records in the order of the specification."""

    CODE: ClassVar[int]
    SCHEMA: ClassVar[tuple[_Field, ...]]

    def encode(self) -> bytes:
        """The described list, with every field present."""
        body = bytearray()
        names = _NAMES[type(self)]
        for name, rule in zip(names, self.SCHEMA, strict=True):
            value = getattr(self, name)
            encode_to(body, None if value is None else rule.writes(value))
        head = bytes((0, 0x53, self.CODE, 0xD0))
        return head + struct.pack(">II", len(body) + 4, len(names)) + body


@dataclass(slots=True, kw_only=True)
class Open(Performative):
    """First frame of a connection (2.7.1); `idle_time_out` is in milliseconds."""

    CODE = 0x10
    SCHEMA = (_TEXT_REQUIRED, _TEXT, _UINT, _USHORT, _UINT, _SYMBOLS, _SYMBOLS, _SYMBOLS, _SYMBOLS, _FIELDS)

    container_id: str = ""
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: Any = None
    incoming_locales: Any = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Begin(Performative):
    """First frame of a session (2.7.2)."""

    CODE = 0x11
    SCHEMA = (_USHORT, _UINT_REQUIRED, _UINT_REQUIRED, _UINT_REQUIRED, _UINT, _SYMBOLS, _SYMBOLS, _FIELDS)

    remote_channel: int | None = None
    next_outgoing_id: int = 0
    incoming_window: int = 0
    outgoing_window: int = 0
    handle_max: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


_SOURCES: Final = (0x28, "amqp:source:list")
_NODES: Final = (*_SOURCES, 0x29, "amqp:target:list")
_COORDINATORS: Final = (0x30, "amqp:coordinator:list")


@dataclass(frozen=True, slots=True)
class Terminus:
    """A source or target: the bytes to echo, and the two fields that decide something here."""

    raw: Raw
    address: str | None = None
    filters: Mapping[Any, Any] = field(default_factory=dict)
    is_coordinator: bool = False

    @classmethod
    def parse(cls, raw: bytes, value: Any) -> Terminus | None:
        """Terminus from its encoded and decoded form; null gives None."""
        if value is None:
            return None
        if not isinstance(value, Described) or not isinstance(value.value, list):
            raise DecodeError("A source or target is not a described list")
        items = value.value
        address = items[0] if items and value.descriptor in _NODES else None
        if address is not None and not isinstance(address, str):
            raise DecodeError("The address of a source or target is not a string")
        filters = items[7] if value.descriptor in _SOURCES and len(items) > 7 else None
        if not isinstance(filters, dict):
            filters = {}
        if not all(isinstance(key, str) for key in filters):
            raise DecodeError("A key of a source's filters is not a symbol")
        return cls(Raw(raw), address, filters, value.descriptor in _COORDINATORS)

    def with_filter(self, name: str, value: Any) -> Terminus:
        """The same source with one filter set to another value, as a broker answers a wildcard."""
        filters = Fields({**self.filters, name: value})
        described = decode_one_list(self.raw)
        described += [None] * (8 - len(described))
        described[7] = filters
        return Terminus(Raw(encode(Described(ULong(0x28), described))), self.address, filters)


def decode_one_list(raw: bytes) -> list[Any]:
    """The fields of an encoded described list whose descriptor is one byte long or eight."""
    values, _ = decode_fields(raw, _after_descriptor(raw, 0, len(raw))[1], len(raw))
    return values


@dataclass(slots=True, kw_only=True)
class Attach(Performative):
    """First frame of a link (2.7.3); `role` is True for a receiver."""

    CODE = 0x12
    SCHEMA = (
        _TEXT_REQUIRED,
        _UINT_REQUIRED,
        _Field(bool, required=True),
        _UBYTE,
        _UBYTE,
        _Field(Described, lambda terminus: terminus.raw),
        _Field(Described, lambda terminus: terminus.raw),
        _MAP,
        _FLAG,
        _UINT,
        _ULONG,
        _SYMBOLS,
        _SYMBOLS,
        _FIELDS,
    )

    name: str = ""
    handle: int = 0
    role: bool = False
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Terminus | None = None
    target: Terminus | None = None
    unsettled: dict[Any, Any] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Any = None
    desired_capabilities: Any = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Flow(Performative):
    """Windows of a session and credit of a link (2.7.4)."""

    CODE = 0x13
    SCHEMA = (
        _UINT,
        _UINT_REQUIRED,
        _UINT_REQUIRED,
        _UINT_REQUIRED,
        _UINT,
        _UINT,
        _UINT,
        _UINT,
        _FLAG,
        _FLAG,
        _FIELDS,
    )

    next_incoming_id: int | None = None
    incoming_window: int = 0
    next_outgoing_id: int = 0
    outgoing_window: int = 0
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[Any, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Transfer(Performative):
    """One frame of a message (2.7.5)."""

    CODE = 0x14
    SCHEMA = (
        _UINT_REQUIRED,
        _UINT,
        _BINARY,
        _UINT,
        _FLAG,
        _FLAG,
        _UBYTE,
        _ANY,
        _FLAG,
        _FLAG,
        _FLAG,
    )

    handle: int = 0
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: Any = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


@dataclass(slots=True, kw_only=True)
class Disposition(Performative):
    """State of one or more deliveries (2.7.6); `role` is True when a receiver speaks."""

    CODE = 0x15
    SCHEMA = (_Field(bool, required=True), _UINT_REQUIRED, _UINT, _FLAG, _ANY, _FLAG)

    role: bool = False
    first: int = 0
    last: int | None = None
    settled: bool | None = None
    state: Any = None
    batchable: bool | None = None


@dataclass(slots=True, kw_only=True)
class Detach(Performative):
    """Last frame of a link (2.7.7)."""

    CODE = 0x16
    SCHEMA = (_UINT_REQUIRED, _FLAG, _ANY)

    handle: int = 0
    closed: bool | None = None
    error: Any = None


@dataclass(slots=True, kw_only=True)
class End(Performative):
    """Last frame of a session (2.7.8)."""

    CODE = 0x17
    SCHEMA = (_ANY,)

    error: Any = None


@dataclass(slots=True, kw_only=True)
class Close(Performative):
    """Last frame of a connection (2.7.9)."""

    CODE = 0x18
    SCHEMA = (_ANY,)

    error: Any = None


@dataclass(slots=True, kw_only=True)
class SaslMechanisms(Performative):
    """The mechanisms the server offers (5.3.3.1)."""

    CODE = 0x40
    SCHEMA = (_SYMBOLS,)

    mechanisms: Any = ()


@dataclass(slots=True, kw_only=True)
class SaslInit(Performative):
    """The mechanism the client chose (5.3.3.2)."""

    CODE = 0x41
    SCHEMA = (_TEXT_REQUIRED, _BINARY, _TEXT)

    mechanism: str = ""
    initial_response: bytes | None = None
    hostname: str | None = None


@dataclass(slots=True, kw_only=True)
class SaslOutcome(Performative):
    """How the authentication ended (5.3.3.5): 0 is success, 1 a refusal."""

    CODE = 0x44
    SCHEMA = (_UBYTE, _BINARY)

    code: int = 0
    additional_data: bytes | None = None


_BY_CODE: Final[dict[int, type[Performative]]] = {
    kind.CODE: kind
    for kind in (
        Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close,
        SaslMechanisms, SaslInit, SaslOutcome,
    )
}  # fmt: skip
_BY_NAME: Final = {f"amqp:{kind.__name__.lower()}:list": kind.CODE for kind in _BY_CODE.values()}
_NAMES: Final = {kind: tuple(each.name for each in fields(kind)) for kind in _BY_CODE.values()}


def _after_descriptor(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Numeric descriptor at `position`, and where the described value begins."""
    if end - position >= 3 and data[position] == 0 and data[position + 1] == 0x53:
        return data[position + 2], position + 3
    if end - position >= 10 and data[position] == 0 and data[position + 1] == 0x80:
        return int.from_bytes(data[position + 2 : position + 10]), position + 10
    if end - position >= 3 and data[position] == 0 and data[position + 1] == 0xA3:
        after = position + 3 + data[position + 2]
        name = data[position + 3 : after].decode("ascii", "replace")
        if after < end and name in _BY_NAME:
            return _BY_NAME[name], after
    raise DecodeError("A frame body does not begin with a known descriptor")


def decode_performative(data: bytes, position: int, end: int) -> tuple[Performative, int]:
    """Read a frame's performative; the second value is where its payload begins.

    Raises
    ------
    DecodeError
        If the bytes are no performative, a required field is missing, or one has the wrong type.
    """
    code, position = _after_descriptor(data, position, end)
    kind = _BY_CODE.get(code)
    if kind is None:
        raise DecodeError(f"0x{code:x} is not the descriptor of a frame body")
    short = _SHORT_WAYS.get(code)
    if short is not None:
        found = decode_scalars(data, position, end, short[0])
        if found is not None and all(found[0][index] is not None for index in short[1]):
            return short[2](found[0]), found[1]
    values, bounds = decode_fields(data, position, end)
    after = bounds[-1]
    schema = kind.SCHEMA
    if len(values) > len(schema):
        raise DecodeError(f"{kind.__name__} has {len(values)} fields, at most {len(schema)} are defined")
    names = _NAMES[kind]
    present: dict[str, Any] = {}
    for index, value in enumerate(values):
        if value is not None:
            _check(kind, names[index], schema[index], value)
            present[names[index]] = value
    for index, rule in enumerate(schema):
        if rule.required and names[index] not in present:
            raise DecodeError(f"{kind.__name__} lacks its field {names[index].replace('_', '-')}")
    if kind is Attach:
        for index in (5, 6):
            if index < len(values) and values[index] is not None:
                raw = bytes(data[bounds[index] : bounds[index + 1]])
                present[names[index]] = Terminus.parse(raw, values[index])
    return kind(**present), after


def _check(kind: type[Performative], name: str, rule: _Field, value: Any) -> None:
    fault = None
    if not isinstance(value, rule.accepts) or (rule.accepts is int and isinstance(value, bool)):
        fault = "has the wrong type"
    elif rule.limit is not None and isinstance(value, int) and not 0 <= value <= rule.limit:
        fault = "is out of range"
    if fault is not None:
        raise DecodeError(f"{kind.__name__}.{name.replace('_', '-')} {fault}")


def _transfer(values: list[Any]) -> Performative:
    return Transfer(
        handle=values[0],
        delivery_id=values[1],
        delivery_tag=values[2],
        message_format=values[3],
        settled=values[4],
        more=values[5],
        rcv_settle_mode=values[6],
        state=values[7],
        resume=values[8],
        aborted=values[9],
        batchable=values[10],
    )


def _disposition(values: list[Any]) -> Performative:
    return Disposition(
        role=values[0],
        first=values[1],
        last=values[2],
        settled=values[3],
        state=values[4],
        batchable=values[5],
    )


_SHORT_WAYS: Final[dict[int, tuple[tuple[int, ...], tuple[int, ...], Callable[[list[Any]], Performative]]]] = {
    Transfer.CODE: ((UINT, UINT, BINARY, UINT, FLAG, FLAG, UBYTE, ANY, FLAG, FLAG, FLAG), (0,), _transfer),
    Disposition.CODE: ((FLAG, UINT, UINT, FLAG, ANY, FLAG), (0, 1), _disposition),
}
"""For the frames that come with every message: kinds of fields, those that are required, and what they make."""


_transfer_head = struct.Struct(">3sBIIBIBIBB").pack
_disposition_head = struct.Struct(">3sBIIBBIBIB").pack


def encode_transfer(handle: int, delivery_id: int, tag: bytes, message_format: int, settled: bool, more: bool) -> bytes:
    """A transfer, as `Transfer.encode` writes it; tags have at most 32 bytes (2.8.7)."""
    return b"".join(
        (
            _transfer_head(b"\x00S\x14", 0xD0, 28 + len(tag), 11, 0x70, handle, 0x70, delivery_id, 0xA0, len(tag)),
            tag,
            b"\x70",
            message_format.to_bytes(4),
            b"\x41" if settled else b"\x42",
            b"\x41" if more else b"\x42",
            b"\x40\x40\x42\x42\x42",
        )
    )


def encode_disposition(role: bool, first: int, last: int, state: bytes) -> bytes:
    """A settled disposition, as `Disposition.encode` writes it."""
    size = 4 + 1 + 5 + 5 + 1 + len(state) + 1
    head = _disposition_head(b"\x00S\x15", 0xD0, size, 6, 0x41 if role else 0x42, 0x70, first, 0x70, last, 0x41)
    return head + state + b"\x42"
