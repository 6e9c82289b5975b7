"""What an answer holds: JSON as its model, and the types of what comes piece by piece. Pure."""

from functools import lru_cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from shared.messages import MalformedJson, validate_json

from .errors import InvalidAnswer
from .sessions import Received, Request

__all__ = ["EVENTS", "NDJSON", "Nothing", "check_stream", "read_answer", "read_model"]

T = TypeVar("T")
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
EVENTS = frozenset({"text/event-stream"})


class Nothing:
    """The type of an answer whose body doesn't matter."""


@lru_cache(maxsize=512)
def _adapter(answer: Any) -> TypeAdapter[Any]:
    return TypeAdapter(answer)


def _check_type(partner: str, endpoint: str, status: int, content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InvalidAnswer(partner, endpoint, f"answered {status} with {kind[:64] or 'no type'}")
    charset = parameters.lower().partition("charset=")[2].strip('" ')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise InvalidAnswer(partner, endpoint, "answered in a charset that JSON doesn't have")


def read_answer(partner: str, request: Request, received: Received, answer: type[T]) -> T:
    """The answer as its model.

    Raises
    ------
    InvalidAnswer
        It is none; the error names fields, and quotes nothing.
    """
    if answer is Nothing:
        return answer()
    content_type = received.headers.get("content-type", "")
    if content_type != "application/json":
        _check_type(partner, request.endpoint, received.status, content_type)
    return read_model(partner, request.endpoint, received.body, answer)


def read_model(partner: str, endpoint: str, text: bytes, answer: type[T]) -> T:
    try:
        return cast(T, validate_json(_adapter(cast(Any, answer)).validate_json, text))
    except ValidationError as error:
        fields = sorted({".".join(str(part) for part in one["loc"]) or "body" for one in error.errors()})
        raise InvalidAnswer(partner, endpoint, f"broke its contract: {', '.join(fields[:10])}") from None
    except MalformedJson:
        raise InvalidAnswer(partner, endpoint, "broke its contract: body") from None


def check_stream(partner: str, endpoint: str, head: Received, kinds: frozenset[str]) -> None:
    kind, _, parameters = head.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip('" ')
    if kind.strip() not in kinds or charset not in ("", "utf-8", "utf8"):
        raise InvalidAnswer(partner, endpoint, f"answered {head.status} with {kind.strip()[:64] or 'no type'}")
