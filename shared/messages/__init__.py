"""Messages: the envelope, CloudEvents, the error codes, and the integrations that handle them."""

from .cloud_events import CLOUD_EVENT_TYPE, CloudEvent, envelope_from
from .envelope import Contract, Envelope, Headers, Timestamp, describe, rfc3339
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
from .integration import Handler, Integration, Projection, Rotation
from .lanes import Lane
from .letters import Letter, address
from .registry import Registry, discover
from .strict_json import check_depth, fingerprint, parse_strict

__all__ = [
    "CLOUD_EVENT_TYPE",
    "CloudEvent",
    "Contract",
    "Envelope",
    "ErrorCode",
    "Handler",
    "Headers",
    "Integration",
    "InvalidMessage",
    "Lane",
    "Letter",
    "MalformedJson",
    "MessageError",
    "Partial",
    "Projection",
    "Registry",
    "Reject",
    "Retry",
    "Rotation",
    "Timestamp",
    "UnknownEventType",
    "UnknownVersion",
    "address",
    "check_depth",
    "describe",
    "discover",
    "envelope_from",
    "fingerprint",
    "parse_strict",
    "rfc3339",
]
