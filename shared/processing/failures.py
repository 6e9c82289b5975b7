"""The failure matrix: what an exception means for the message that met it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from pydantic import ValidationError

from shared.messages import ErrorCode, MessageError, Reject, Retry
from shared.state import TooLarge

__all__ = ["Category", "Failure", "classify"]

LONGEST_ASKED = 3_600.0
"""Seconds of a Retry-After that are believed."""


class Category(StrEnum):
    """What kind of failure it was."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    PERMANENT = "permanent"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified failure.

    Attributes
    ----------
    after:
        Seconds to wait before the next try, where the other side said so.
    """

    category: Category
    code: str
    reason: str
    error: BaseException | None = None
    after: float | None = None

    @property
    def retryable(self) -> bool:
        """Another try with the same message may succeed."""
        return self.category in (Category.TRANSIENT, Category.THROTTLED)


def classify(error: BaseException) -> Failure:
    """Sort an exception; one that nobody knows is worth another try, and ends as a dead letter if it stays."""
    try:
        return _sort(error, f"{type(error).__name__}: {error}"[:2_000])
    except Exception:  # the exception itself is broken: it can't be told or asked
        return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, type(error).__name__)


def _sort(error: BaseException, reason: str) -> Failure:
    match error:
        case Reject():
            return Failure(Category.PERMANENT, str(error.code), error.reason, error)
        case Retry():
            return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, error.reason, error, error.after)
        case MessageError():
            return Failure(Category.INVALID, error.code, error.message, error)
        case ValidationError():
            return Failure(Category.INVALID, ErrorCode.VALIDATION_ERROR, reason, error)
        case TooLarge():
            return Failure(Category.PERMANENT, ErrorCode.STATE_TOO_LARGE, reason, error)
        case TimeoutError() | ConnectionError() | ServiceRequestError() | ServiceResponseError():
            return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, reason, error)
        case HttpResponseError():
            return _by_status(error, error.status_code, reason)
        case AzureError() | OSError():
            return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, reason, error)
        case Exception():
            return _by_response(error, reason)
    return Failure(Category.PERMANENT, ErrorCode.HANDLER_ERROR, reason, error)


def _by_response(error: Exception, reason: str) -> Failure:
    """Clients of partners (httpx, aiohttp) carry the status on the error or on its response."""
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int):
        return _by_status(error, status, reason)
    return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, reason, error)


def _by_status(error: Exception, status: int | None, reason: str) -> Failure:
    if status == 429:
        return Failure(Category.THROTTLED, ErrorCode.HANDLER_ERROR, reason, error, _retry_after(error))
    if status is None or status >= 500 or status == 408:
        return Failure(Category.TRANSIENT, ErrorCode.HANDLER_ERROR, reason, error, _retry_after(error))
    return Failure(Category.PERMANENT, ErrorCode.HANDLER_ERROR, reason, error)


def _retry_after(error: Exception) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3); a date is left to the retry plan."""
    source: Any = getattr(error, "response", None) or error
    value = (getattr(source, "headers", None) or {}).get("Retry-After")
    text = str(value).strip()
    return min(float(text), LONGEST_ASKED) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None
