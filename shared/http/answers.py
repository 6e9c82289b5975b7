"""The answers of the API: one form for success, one for errors, one table from code to status."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.messages import ErrorCode, rfc3339

__all__ = ["MESSAGES", "accepted", "count_messages", "error", "internal_error", "status_of", "success"]

MESSAGES = "messages"
"""In the state of a request: how many accepted messages it brought."""
_STATUS = {
    ErrorCode.MALFORMED_JSON: 400,
    ErrorCode.VALIDATION_ERROR: 400,
    ErrorCode.UNKNOWN_EVENT_TYPE: 400,
    ErrorCode.UNKNOWN_VERSION: 400,
    ErrorCode.INCOMPLETE_BODY: 400,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.PRECONDITION_FAILED: 412,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.UNSUPPORTED_ENCODING: 415,
    ErrorCode.TOO_MANY_REQUESTS: 429,
    ErrorCode.MESSAGE_ID_CONFLICT: 422,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL_ERROR: 500,
}


def status_of(code: str) -> int:
    """The HTTP status that goes with an error code."""
    return _STATUS.get(ErrorCode(code), 400)


def error(
    code: str,
    message: str,
    *,
    now: datetime,
    message_id: UUID | str | None = None,
    details: Mapping[str, Any] | None = None,
    retry_after: int | None = None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in the one format; `retry_after` in seconds makes it retryable."""
    body = {
        "messageId": None if message_id is None else str(message_id),
        "status": "error",
        "timestamp": rfc3339(now),
        "error": {"code": str(code), "message": message, "details": dict(details or {})},
        "retryable": retry_after is not None,
        "retryAfter": retry_after,
    }
    extra = dict(headers or {})
    if retry_after is not None:
        extra["Retry-After"] = str(retry_after)
    return JSONResponse(body, status_code=status or status_of(code), headers=extra)


def internal_error(*, now: datetime) -> Response:
    """The app itself is at fault; the log says why, under the correlation id."""
    return error(ErrorCode.INTERNAL_ERROR, "Something went wrong here.", now=now)


def success(
    status: str,
    *,
    message_id: UUID | str,
    now: datetime,
    milliseconds: int,
    processed: bool,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """A success in the one format. `stored` is true: nothing is answered before the message is kept."""
    body = {
        "messageId": str(message_id),
        "status": status,
        "timestamp": rfc3339(now),
        "processingTime": milliseconds,
        "acknowledgment": {"received": True, "processed": processed, "stored": True},
        **(more or {}),
    }
    return JSONResponse(body, status_code=code, headers=dict(headers or {}))


def count_messages(request: Request, messages: int) -> None:
    """Tell how many messages a request brought that were accepted; without it none count as its client's usage."""
    setattr(request.state, MESSAGES, messages)


def accepted(message_id: UUID, *, location: str, now: datetime, milliseconds: int) -> Response:
    """202: Service Bus has the message (and Blob storage its payload). The parts of `Location` are headers too."""
    identity, _, request = location.rpartition("/")[2].partition("?request=")
    headers = {"Location": location, "Operation-Id": identity, "Retry-After": "1"}
    if request:
        headers["Operation-Request"] = request
    return success(
        "accepted",
        message_id=message_id,
        now=now,
        milliseconds=milliseconds,
        processed=False,
        code=202,
        headers=headers,
    )
