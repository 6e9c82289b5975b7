"""Reads a request's body: known type, bounded size, whole."""

from email.message import Message

from starlette.requests import ClientDisconnect, Request

from shared.messages import CLOUD_EVENT_TYPE, ErrorCode, MessageError

__all__ = ["BadBody", "media_type", "read_body"]


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
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    found = header.get_content_type() if request.headers.get("content-type", "").strip() else ""
    if found not in ("application/json", CLOUD_EVENT_TYPE):
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: application/json or {CLOUD_EVENT_TYPE}.")
    charset = header.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8"):
        raise BadBody(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise BadBody(ErrorCode.UNSUPPORTED_ENCODING, "Send the body without a Content-Encoding.")
    return found


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be longer than `limit` bytes.

    Raises
    ------
    BadBody
        Too large, or the client went away before its end.
    """
    too_large = BadBody(ErrorCode.PAYLOAD_TOO_LARGE, f"The body is larger than {limit} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise too_large
            pieces.append(piece)
    except ClientDisconnect:
        raise BadBody(ErrorCode.INCOMPLETE_BODY, "The body ended before it was complete.") from None
    return b"".join(pieces)
