"""Messages: the envelope, CloudEvents, the error codes, and the integrations that handle them."""

from .cloud_events import CLOUD_EVENT_TYPE, CloudEvent, envelope_from, former_id_of, in_attributes, message_id_of
from .delivery import ERASED_PROPERTY, Delivery, Lane
from .envelope import (
    Contract,
    Envelope,
    Headers,
    Timestamp,
    describe,
    refuse_named_twice,
    refuse_unknown,
    unknown_fields,
)
from .errors import (
    Category,
    ErrorCode,
    Failure,
    InvalidMessage,
    MalformedJson,
    MessageError,
    Partial,
    Reject,
    Retry,
    UnknownEventType,
    UnknownVersion,
)
from .integration import Handler, Integration, Projection
from .one_reading import parse_rfc3339, rfc3339
from .outgoing import OutgoingCommand, address
from .registry import Registry, discover
from .strict_json import PayloadHash, check_depth, parse_strict, payload_hash, stored_hashes, validate_json, write_json

__all__ = [
    "CLOUD_EVENT_TYPE",
    "ERASED_PROPERTY",
    "Category",
    "CloudEvent",
    "Contract",
    "Delivery",
    "Envelope",
    "ErrorCode",
    "Failure",
    "Handler",
    "Headers",
    "Integration",
    "InvalidMessage",
    "Lane",
    "MalformedJson",
    "MessageError",
    "OutgoingCommand",
    "Partial",
    "PayloadHash",
    "Projection",
    "Registry",
    "Reject",
    "Retry",
    "Timestamp",
    "UnknownEventType",
    "UnknownVersion",
    "address",
    "check_depth",
    "describe",
    "discover",
    "envelope_from",
    "former_id_of",
    "in_attributes",
    "message_id_of",
    "parse_rfc3339",
    "parse_strict",
    "payload_hash",
    "refuse_named_twice",
    "refuse_unknown",
    "rfc3339",
    "stored_hashes",
    "unknown_fields",
    "validate_json",
    "write_json",
]
