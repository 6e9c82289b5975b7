"""The failure matrix: what an exception means for the message that met it. One table, here and nowhere else."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf, nan
from typing import Any

from shared.messages import Category, ErrorCode, Failure, MessageError, Partial, Postpone, Reject, Retry
from shared.partners import PartnerError
from shared.telemetry import redact

__all__ = ["MATRIX", "STATUS_MATRIX", "classify"]

_READ = 16_000
"""Characters of a reason that are looked at."""
LONGEST_ASKED = 3_600.0
"""Seconds of a Retry-After that are believed."""


MATRIX: tuple[tuple[str, Category], ...] = (
    # encrypted, and nobody can decrypt it: no other try will
    ("shared.encryption.errors.ProtectionError", Category.PERMANENT),
    # invalid data: fail at once
    ("shared.messages.errors.MessageError", Category.INVALID),
    ("pydantic_core._pydantic_core.ValidationError", Category.INVALID),
    ("shared.state.store.TooLarge", Category.PERMANENT),
    # a partner broke its contract; or may have done what must not be done twice; or isn't known
    ("shared.partners.errors.InvalidAnswer", Category.INVALID),
    ("shared.partners.errors.PartnerRefused", Category.PERMANENT),  # a redirect; the others have a status
    ("shared.partners.errors.OutcomeUnknown", Category.PERMANENT),
    ("shared.partners.errors.UnknownTarget", Category.PERMANENT),
    # the vault has answered that it isn't there
    ("shared.secrets.errors.UnknownSecret", Category.PERMANENT),
    ("shared.secrets.errors.VaultThrottled", Category.THROTTLED),
    ("shared.secrets.errors.SecretError", Category.TRANSIENT),
    # timeouts: try again
    ("builtins.TimeoutError", Category.TRANSIENT),
    ("httpx.TimeoutException", Category.TRANSIENT),
    ("azure.core.exceptions.ServiceRequestError", Category.TRANSIENT),
    ("azure.core.exceptions.ServiceResponseError", Category.TRANSIENT),
    ("azure.servicebus.exceptions.ServiceBusServerBusyError", Category.THROTTLED),
    ("azure.servicebus.exceptions.ServiceBusAuthorizationError", Category.PERMANENT),
    ("azure.servicebus.exceptions.MessageSizeExceededError", Category.PERMANENT),
    ("azure.servicebus.exceptions.ServiceBusError", Category.TRANSIENT),
    ("azure.eventhub.exceptions.EventHubError", Category.TRANSIENT),
    ("azure.core.exceptions.ClientAuthenticationError", Category.PERMANENT),
    # wrong addresses don't heal
    ("httpx.InvalidURL", Category.PERMANENT),
    ("httpx.UnsupportedProtocol", Category.PERMANENT),
    ("aiohttp.client_exceptions.InvalidURL", Category.PERMANENT),
    ("aiohttp.client_exceptions.NonHttpUrlClientError", Category.PERMANENT),
    # the connection was refused or broke: try again
    ("builtins.ConnectionError", Category.TRANSIENT),
    ("httpx.TransportError", Category.TRANSIENT),
    ("aiohttp.client_exceptions.ClientConnectionError", Category.TRANSIENT),
    ("aiohttp.client_exceptions.ClientPayloadError", Category.TRANSIENT),
    ("builtins.OSError", Category.TRANSIENT),
)
"""Exception (as module.name, so that nothing is imported for it) → category; the first row that fits decides."""

STATUS_MATRIX: tuple[tuple[range, Category], ...] = (
    (range(408, 409), Category.TRANSIENT),
    (range(409, 410), Category.TRANSIENT),
    (range(425, 426), Category.TRANSIENT),
    (range(429, 430), Category.THROTTLED),
    (range(400, 500), Category.PERMANENT),
    (range(503, 504), Category.THROTTLED),
    (range(500, 600), Category.TRANSIENT),
)
"""HTTP status of an answer → category; the first row that fits decides."""


def classify(error: BaseException) -> Failure:
    """Sort an exception.

    One that nobody knows is worth another try, and ends as a dead letter if it stays; what isn't an `Exception`
    (SystemExit, KeyboardInterrupt) is permanent: it must not end the app twice. Code and reason are without the
    protected values of the message at hand.
    """
    try:
        found = _sort(error, redact(f"{type(error).__name__}: {error}"[:_READ])[:2_000])
        return replace(found, code=_text(found.code, 128), reason=_text(found.reason, 4_000))
    except Exception:  # the exception itself is broken: it can't be described or asked
        return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, type(error).__name__)


def _sort(error: BaseException, reason: str) -> Failure:
    match error:
        case Reject():
            return Failure(Category.BUSINESS, str(error.code), error.reason, error)
        case Partial():
            return Failure(Category.PARTIAL, ErrorCode.HANDLER_ERROR, error.reason, error, error.after)
        case Postpone():
            return Failure(Category.THROTTLED, ErrorCode.HANDLER_ERROR, error.reason, error, error.after)
        case Retry():
            return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, error.reason, error, error.after)
    status = _status(error)
    category = next((category for statuses, category in STATUS_MATRIX if status in statuses), None)
    if category is not None:
        return Failure(category, ErrorCode.HANDLER_ERROR, reason, error, _retry_after(error))
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    names |= {f"{name.partition('.')[0]}.{name.rpartition('.')[2]}" for name in names}  # httpx._exceptions.X is httpx.X
    category = next((category for name, category in MATRIX if name in names), None)
    if category is None:
        category = Category.TRANSIENT if isinstance(error, Exception) else Category.PERMANENT
    return Failure(category, _code(error), reason if not isinstance(error, MessageError) else error.message, error)


def _text(value: object, longest: int) -> str:
    """What a column can hold and everybody may read; half a character, which no UTF-8 can, becomes a question mark."""
    return redact(str(value)[:_READ])[:longest].encode("utf-8", "replace").decode()


def _code(error: BaseException) -> str:
    if isinstance(error, MessageError):
        return error.code
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ValidationError" in names:
        return ErrorCode.VALIDATION_ERROR
    return ErrorCode.STATE_TOO_LARGE if "TooLarge" in names else ErrorCode.HANDLER_ERROR


def _status(error: BaseException) -> int | None:
    """The HTTP status that clients carry on the error (aiohttp, Azure) or on its response (httpx)."""
    response: Any = getattr(error, "response", None)
    candidates: Iterable[Any] = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "status", None),
    )
    return next((value for value in candidates if isinstance(value, int) and not isinstance(value, bool)), None)


def _retry_after(error: BaseException) -> float | None:
    """Seconds from a Retry-After header, a number or a date (RFC 9110, 10.2.3), an hour at most.

    What isn't a time to come is left to the plan: a partner whose clock is late must not make every retry immediate.
    """
    if isinstance(error, PartnerError):
        return error.after
    source: Any = getattr(error, "response", None) or error
    headers: Any = getattr(source, "headers", None)
    if not callable(getattr(headers, "get", None)):
        return None
    value = headers.get("Retry-After") or headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except (ValueError, TypeError, OverflowError):
        seconds = _seconds_until(str(value))
    return min(seconds, LONGEST_ASKED) if 0 <= seconds < inf else None


def _seconds_until(date: str) -> float:
    """Seconds until an HTTP date; not a number where it isn't one."""
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return nan
