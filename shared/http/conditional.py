"""Conditional requests and what caches may do with an answer (RFC 9110, section 13, and RFC 9111)."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from shared.messages import ErrorCode

from .answers import error

__all__ = ["answer_if_changed", "etag_of_body", "max_age_of", "precondition", "reuse"]

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,9})"?(?=[\s,]|$)', re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|[\s,])no-(?:cache|store)(?=[\s,]|$)", re.IGNORECASE)
_VARY = "Authorization, X-API-Key, Accept, Accept-Encoding"


def etag_of_body(body: bytes) -> str:
    """A strong ETag: another one for every other body."""
    return f'"{urlsafe_b64encode(hashlib.sha256(body).digest()[:18]).decode()}"'


def max_age_of(headers: Headers) -> float | None:
    """Seconds that the caller lets an answer be old (`Cache-Control: max-age`, `no-cache`); None leaves it to us."""
    asked = ",".join(headers.getlist("cache-control"))
    if _NO_CACHE.search(asked) or (not asked and "no-cache" in headers.get("pragma", "").lower()):
        return 0
    found = _MAX_AGE.search(asked)
    return None if found is None else float(found[1])


def reuse(*, max_age: float, stale: float, private: bool, age: float = 0) -> dict[str, str]:
    """Headers that say who may use an answer again, and for how long.

    Parameters
    ----------
    max_age, stale:
        Seconds for which it is fresh, and for which a cache may still use it then while it asks anew.
    private:
        It holds, or hides, protected data, so no shared cache may keep it.
    age:
        Seconds that it is old already.
    """
    if max_age <= 0:
        directives = ["private", "no-cache"]
    else:
        directives = ["private"] if private else [f"s-maxage={max_age:.0f}"]
        directives += [f"max-age={max_age:.0f}", *([f"stale-while-revalidate={stale:.0f}"] if stale > 0 else [])]
    headers = {"Cache-Control": ", ".join(directives), "Vary": _VARY}
    return headers | ({"Age": f"{int(age + 0.999)}"} if max_age > 0 else {})


def precondition(method: str, headers: Headers, etag: str, modified: datetime | None) -> int | None:
    """What the request's conditions ask for instead of the answer: 304, 412, or None for the answer.

    In the order of RFC 9110, section 13.2.2; a condition that can't be read doesn't hold for ETags, and is ignored
    for times.
    """
    if "if-match" in headers:
        if not _matches(headers.getlist("if-match"), etag, weak=False):
            return 412
    elif (since := _time(headers, "if-unmodified-since")) and modified is not None and _seconds(modified) > since:
        return 412
    safe = method in ("GET", "HEAD")
    if "if-none-match" in headers:
        if _matches(headers.getlist("if-none-match"), etag, weak=True):
            return 304 if safe else 412
    elif safe and (since := _time(headers, "if-modified-since")) and modified is not None:
        return 304 if _seconds(modified) <= since else None
    return None


def answer_if_changed(
    request: Request,
    body: bytes,
    *,
    now: datetime,
    modified: datetime | None = None,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """A body with its ETag, or 304 or 412 where the request's conditions say so."""
    etag = etag_of_body(body)
    shown = {**(headers or {}), "ETag": etag}
    if modified is not None:
        shown["Last-Modified"] = format_datetime(_seconds(modified), usegmt=True)
    status = precondition(request.method, request.headers, etag, modified)
    if status == 412:
        return error(
            ErrorCode.PRECONDITION_FAILED, "It isn't the version that the request names.", now=now, headers=shown
        )
    if status == 304:
        return Response(status_code=304, headers=shown)
    return Response(body, headers=shown, media_type=media_type)


def _matches(fields: list[str], etag: str, *, weak: bool) -> bool:
    """Whether one of the tags is ours; `*` is any. A weak tag is one only where weak comparison will do."""
    given = ",".join(fields).strip()
    if given == "*":
        return True
    return any(f'"{found[2]}"' == etag and (weak or not found[1]) for found in _TAG.finditer(given))


def _time(headers: Headers, name: str) -> datetime | None:
    fields = headers.getlist(name)
    if len(fields) != 1 or len(fields[0]) > 64:
        return None
    try:
        found = parsedate_to_datetime(fields[0])
    except (ValueError, TypeError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _seconds(moment: datetime) -> datetime:
    """HTTP's times have no fractions."""
    return moment.astimezone(UTC).replace(microsecond=0)
