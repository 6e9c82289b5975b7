"""The one error tree of the AMQP package, and the error conditions that go over the wire.

AmqpError                  condition + description, sent to the peer
└── DecodeError            bytes that are not AMQP 1.0 (`amqp:decode-error`)
"""

from __future__ import annotations

from local_azure.broker.amqp.types import Symbol

__all__ = ["AmqpError", "Condition", "DecodeError"]


class Condition:
    """Symbols of the AMQP 1.0 specification (transport 2.8.15-2.8.17) and of Azure's own vocabulary."""

    INTERNAL_ERROR = Symbol("amqp:internal-error")
    NOT_FOUND = Symbol("amqp:not-found")
    UNAUTHORIZED = Symbol("amqp:unauthorized-access")
    DECODE_ERROR = Symbol("amqp:decode-error")
    RESOURCE_LIMIT_EXCEEDED = Symbol("amqp:resource-limit-exceeded")
    NOT_ALLOWED = Symbol("amqp:not-allowed")
    INVALID_FIELD = Symbol("amqp:invalid-field")
    NOT_IMPLEMENTED = Symbol("amqp:not-implemented")
    PRECONDITION_FAILED = Symbol("amqp:precondition-failed")
    ILLEGAL_STATE = Symbol("amqp:illegal-state")
    FRAME_SIZE_TOO_SMALL = Symbol("amqp:frame-size-too-small")
    CONNECTION_FORCED = Symbol("amqp:connection:forced")
    FRAMING_ERROR = Symbol("amqp:connection:framing-error")
    WINDOW_VIOLATION = Symbol("amqp:session:window-violation")
    ERRANT_LINK = Symbol("amqp:session:errant-link")
    HANDLE_IN_USE = Symbol("amqp:session:handle-in-use")
    UNATTACHED_HANDLE = Symbol("amqp:session:unattached-handle")
    DETACH_FORCED = Symbol("amqp:link:detach-forced")
    TRANSFER_LIMIT_EXCEEDED = Symbol("amqp:link:transfer-limit-exceeded")
    MESSAGE_SIZE_EXCEEDED = Symbol("amqp:link:message-size-exceeded")
    STOLEN = Symbol("amqp:link:stolen")
    TRANSACTION_UNKNOWN = Symbol("amqp:transaction:unknown-id")
    TRANSACTION_ROLLBACK = Symbol("amqp:transaction:rollback")
    TRANSACTION_TIMEOUT = Symbol("amqp:transaction:timeout")

    ARGUMENT_ERROR = Symbol("com.microsoft:argument-error")
    ARGUMENT_OUT_OF_RANGE = Symbol("com.microsoft:argument-out-of-range")
    AUTH_FAILED = Symbol("com.microsoft:auth-failed")
    ENTITY_DISABLED = Symbol("com.microsoft:entity-disabled")
    ENTITY_ALREADY_EXISTS = Symbol("com.microsoft:entity-already-exists")
    MESSAGE_LOCK_LOST = Symbol("com.microsoft:message-lock-lost")
    MESSAGE_NOT_FOUND = Symbol("com.microsoft:message-not-found")
    SERVER_BUSY = Symbol("com.microsoft:server-busy")
    SESSION_CANNOT_BE_LOCKED = Symbol("com.microsoft:session-cannot-be-locked")
    SESSION_LOCK_LOST = Symbol("com.microsoft:session-lock-lost")
    TIMEOUT = Symbol("com.microsoft:timeout")


class AmqpError(Exception):
    """A fault that is reported to the peer: a condition symbol and a sentence that says what to do."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = Symbol(condition)
        self.description = description


class DecodeError(AmqpError):
    """Bytes that do not follow the AMQP 1.0 type system or a performative's definition."""

    def __init__(self, description: str) -> None:
        super().__init__(Condition.DECODE_ERROR, description)
