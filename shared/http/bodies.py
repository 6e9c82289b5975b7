"""Reads a request's body: known type, bounded size, whole; or which upload stands for it."""

import asyncio
import json
import re
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from email.message import Message
from typing import Any

from starlette.requests import ClientDisconnect, Request

from shared.messages import CLOUD_EVENT_TYPE, ErrorCode, InvalidMessage, MessageError

__all__ = [
    "SLOWEST",
    "BadBody",
    "NamedUpload",
    "content_encoding",
    "contract_version",
    "declared_length",
    "media_type",
    "named_upload",
    "read_body",
]

LONGEST_CONTENT_TYPE = 256
"""The standard library's parser of parameters is quadratic: a long header would hold up the event loop."""
LONGEST_VERSION = 64
PATIENCE_SECONDS = 15.0
SLOWEST = 64 * 1024
"""Bytes a second: a slower sender would keep the places of large bodies from everybody else."""


class BadBody(MessageError):
    """The body can't be taken as it was sent; `code` says why."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def media_type(request: Request, kinds: Sequence[str] = ("application/json", CLOUD_EVENT_TYPE)) -> str:
    """One of some media types.

    Raises
    ------
    BadBody
        The Content-Type is missing or another one, or its charset isn't UTF-8.
    """
    given = request.headers.get("content-type", "").strip()
    header = Message()
    header["content-type"] = given if len(given) <= LONGEST_CONTENT_TYPE else ""
    found = header.get_content_type() if header["content-type"] else ""
    if found not in kinds:
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {' or '.join(kinds)}.")
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body in UTF-8.")
    return found


def contract_version(request: Request) -> str | None:
    """The version of bare data as its sender names it: the header `Message-Version`, or `version` in the media type."""
    given = request.headers.get("message-version")
    if given is None:
        header = Message()
        header["content-type"] = request.headers.get("content-type", "").strip()[:LONGEST_CONTENT_TYPE]
        found = header.get_param("version")
        given = found if isinstance(found, str) else None
    return None if given is None else given.strip()[:LONGEST_VERSION]


def content_encoding(request: Request, known: Collection[str] = ("identity",)) -> str:
    """How the body is compressed; `identity` where it isn't.

    Raises
    ------
    BadBody
        It is none of those that are known, or several.
    """
    given = ",".join(request.headers.getlist("content-encoding")).strip().lower()
    found = {"": "identity", "x-gzip": "gzip"}.get(given, given)
    if found not in known:
        only = sorted(set(known) - {"identity"})
        how = f"with Content-Encoding: {' or '.join(only)}, or without one" if only else "without a Content-Encoding"
        raise BadBody(ErrorCode.UNSUPPORTED_ENCODING, f"Send the body {how}.")
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
    """The upload that is to be taken as the body: its id, bytes, SHA-256 in lower-case hex, and content coding."""

    id: str
    size: int
    sha256: str
    encoding: str = "identity"


def named_upload(body: bytes, *, largest: int, encodings: Collection[str] = ()) -> NamedUpload | None:
    """The upload that a body names; None where the body is the message itself.

    Parameters
    ----------
    encodings:
        Content codings that it may say the upload has; where there are none it says nothing of it.

    Raises
    ------
    InvalidMessage
        Says what is wrong with the name.
    """
    if len(body) > _LONGEST or b'"upload"' not in body:
        return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):  # whoever reads it as a message says what is wrong
        return None
    if not isinstance(parsed, dict) or parsed.keys() != {"upload"}:
        return None
    given = parsed["upload"] if isinstance(parsed["upload"], dict) else {}
    encoding = given.get("encoding", "identity") if encodings else "identity"
    encoding = encoding if isinstance(encoding, str) else ""
    wrong = [
        {"field": f"upload.{name}", "message": message}
        for name, message, right in (
            ("id", "must be the id of an upload", isinstance(given.get("id"), str)),
            ("size", f"must be its bytes, 1 to {largest}", _is_size(given.get("size"), largest)),
            ("sha256", "must be 64 lower-case hex digits", _is_sha256(given.get("sha256"))),
            ("encoding", f"must be one of {', '.join(sorted(encodings))}", not encodings or encoding in encodings),
        )
        if not right
    ]
    if wrong:
        text = "; ".join(f"{one['field']}: {one['message']}" for one in wrong)
        raise InvalidMessage(text, details={"errors": wrong, "count": len(wrong)})
    return NamedUpload(given["id"], int(given["size"]), given["sha256"], encoding)


def _is_size(value: Any, largest: int) -> bool:
    """A whole number, which JSON may also write as 5.0."""
    is_whole = value.is_integer() if isinstance(value, float) else type(value) is int
    return is_whole and 1 <= value <= largest


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
