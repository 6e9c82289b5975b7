"""Reads a request's body: known type, bounded size, whole."""

import asyncio
from contextlib import aclosing
from email.message import Message

from starlette.requests import ClientDisconnect, Request

from shared.messages import CLOUD_EVENT_TYPE, ErrorCode, MessageError

__all__ = ["BadBody", "declared_length", "media_type", "read_body"]

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
