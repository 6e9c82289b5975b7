"""Messages: the envelope, CloudEvents, the error codes, and the integrations that handle them."""

from .cloud_events import CLOUD_EVENT_TYPE, CloudEvent, envelope_from, former_id_of, in_attributes, message_id_of
from .delivery import ERASED_PROPERTY, Delivery
from .envelope import EDIT_OF, Contract, Envelope, Headers, Timestamp, describe
from .errors import (
    ErrorCode,
    InvalidMessage,
    MalformedJson,
    MessageError,
    Partial,
    Reject,
    Retry,
    UnknownEventType,
    UnknownVersion,
)
from .exact_numbers import validate_json
from .failure import Category, Failure
from .integration import Handler, Integration, Projection
from .lanes import Lane
from .outgoing import OutgoingCommand, address
from .payload_hash import PayloadHash, payload_hash, stored_hashes
from .registry import Registry, discover
from .strict_json import check_depth, parse_strict, write_json
from .times import parse_rfc3339, rfc3339
from .unknown_fields import refuse_named_twice, refuse_unknown, unknown_fields

__all__ = [
    "CLOUD_EVENT_TYPE",
    "EDIT_OF",
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
