"""A body that stands for an upload: `{"upload": {"id": …, "size": …, "sha256": …}}`."""

import json
import re
from dataclasses import dataclass
from typing import Any

from shared.messages import InvalidMessage

__all__ = ["NamedUpload", "named_upload"]

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
