"""Reads a request's body: known type, bounded size, whole; or which upload stands for it."""

import asyncio
import json
import re
from contextlib import aclosing
from dataclasses import dataclass
from email.message import Message
from typing import Any

from starlette.requests import ClientDisconnect, Request

from shared.messages import CLOUD_EVENT_TYPE, ErrorCode, InvalidMessage, MessageError

__all__ = ["BadBody", "NamedUpload", "declared_length", "media_type", "named_upload", "read_body"]

LONGEST_CONTENT_TYPE = 256
"""The standard library's parser of parameters is quadratic: a long header would hold up the event loop."""
PATIENCE_SECONDS = 15.0
SLOWEST = 64 * 1024
"""Bytes a second: a slower sender would keep the places of large bodies from everybody else."""


class BadBody(MessageError):
    """The body can't be taken as it was sent; `code` says why."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def media_type(request: Request) -> str:
    """`application/json` or `application/cloudevents+json`.

    Raises
    ------
    BadBody
        The Content-Type is missing or another one, its charset isn't UTF-8, or the body is compressed.
    """
    given = request.headers.get("content-type", "").strip()
    header = Message()
    header["content-type"] = given if len(given) <= LONGEST_CONTENT_TYPE else ""
    found = header.get_content_type() if header["content-type"] else ""
    if found not in ("application/json", CLOUD_EVENT_TYPE):
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: application/json or {CLOUD_EVENT_TYPE}.")
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise BadBody(ErrorCode.UNSUPPORTED_ENCODING, "Send the body without a Content-Encoding.")
    return found


def declared_length(request: Request) -> int | None:
    """Content-Length in bytes; None where it is missing or no number."""
    text: str = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be longer than `limit` bytes.

    Raises
    ------
    BadBody
        Too large, too slow, or the client went away before its end.
    """
    too_large = BadBody(ErrorCode.PAYLOAD_TOO_LARGE, f"The body is larger than {limit} bytes.")
    if (declared_length(request) or 0) > limit:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    begun = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS) as patience, aclosing(request.stream()) as stream:
            async for piece in stream:
                size += len(piece)
                if size > limit:
                    raise too_large
                pieces.append(piece)
                patience.reschedule(begun + PATIENCE_SECONDS + size / SLOWEST)
    except TimeoutError:
        raise BadBody(ErrorCode.INCOMPLETE_BODY, "The body came too slowly.") from None
    except ClientDisconnect:
        raise BadBody(ErrorCode.INCOMPLETE_BODY, "The body ended before it was complete.") from None
    return b"".join(pieces)


_LONGEST = 1_024
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class NamedUpload:
    """The upload that is to be taken as the body: its id, bytes, and SHA-256 in lower-case hex."""

    id: str
    size: int
    sha256: str


def named_upload(body: bytes, *, largest: int) -> NamedUpload | None:
    """The upload that a body names; None where the body is the message itself.

    Raises
    ------
    InvalidMessage
        Says what is wrong with the name.
    """
    if len(body) > _LONGEST or b'"upload"' not in body:
        return None
    try:
        parsed = json.loads(body)
    except ValueError:  # whoever reads it as a message says what is wrong
        return None
    if not isinstance(parsed, dict) or parsed.keys() != {"upload"}:
        return None
    given = parsed["upload"] if isinstance(parsed["upload"], dict) else {}
    wrong = [
        {"field": f"upload.{name}", "message": message}
        for name, message, right in (
            ("id", "must be the id of an upload", isinstance(given.get("id"), str)),
            ("size", f"must be its bytes, 1 to {largest}", _is_size(given.get("size"), largest)),
            ("sha256", "must be 64 lower-case hex digits", _is_sha256(given.get("sha256"))),
        )
        if not right
    ]
    if wrong:
        text = "; ".join(f"{one['field']}: {one['message']}" for one in wrong)
        raise InvalidMessage(text, details={"errors": wrong, "count": len(wrong)})
    return NamedUpload(given["id"], int(given["size"]), given["sha256"])


def _is_size(value: Any, largest: int) -> bool:
    """A whole number, which JSON may also write as 5.0."""
    is_whole = value.is_integer() if isinstance(value, float) else type(value) is int
    return is_whole and 1 <= value <= largest


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
