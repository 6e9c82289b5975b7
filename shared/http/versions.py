"""Versions in the path: `/api/v1` is `/api` pinned, and says when it will be gone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from email.utils import format_datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CURRENT", "Deprecation", "Versioned", "deprecations"]

CURRENT = "v1"
_VERSIONS = frozenset({CURRENT})
_PREFIX = "/api/"


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """When a version was deprecated, when it will be gone, and where its users read of that."""

    since: date
    sunset: date | None = None
    link: str = ""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """`Deprecation` (RFC 9745), `Sunset` (RFC 8594), and links to what tells of both."""
        moment = datetime.combine(self.since, time(), UTC)
        found = {"deprecation": f"@{int(moment.timestamp())}"}
        if self.sunset is not None:
            found["sunset"] = format_datetime(datetime.combine(self.sunset, time(), UTC), usegmt=True)
        links = [f'<{self.link}>; rel="{name}"' for name in ("deprecation", "sunset") if self.link and name in found]
        if links:
            found["link"] = ", ".join(links)
        return [(name.encode(), value.encode()) for name, value in found.items()]


def deprecations(text: str) -> dict[str, Deprecation]:
    """Read `{"v1": {"since": "2027-01-01", "sunset": "2027-07-01", "link": "https://…"}}`.

    Raises
    ------
    ValueError
        Says what is wrong with it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None
    if not isinstance(document, dict) or not document.keys() <= _VERSIONS:
        raise ValueError(f"must be an object of {', '.join(sorted(_VERSIONS))}")
    return {version: _deprecation(version, one) for version, one in document.items()}


def _deprecation(version: str, given: object) -> Deprecation:
    if not isinstance(given, dict) or "since" not in given or not given.keys() <= {"since", "sunset", "link"}:
        raise ValueError(f"{version} must be an object with since, and perhaps sunset and link")
    link = given.get("link", "")
    if not isinstance(link, str) or not link.isascii() or not link.isprintable() or set(link) & set('<>" '):
        raise ValueError(f"{version}.link must be an address")
    if link and not link.startswith("https://"):
        raise ValueError(f"{version}.link must be an address like https://docs.example.org/v1")
    since, sunset = _day(version, given, "since"), _day(version, given, "sunset")
    if since is None:
        raise ValueError(f"{version}.since must be a day like 2027-01-31")
    if sunset is not None and sunset < since:
        raise ValueError(f"{version}.sunset is before since")
    return Deprecation(since=since, sunset=sunset, link=link)


def _day(version: str, given: Mapping[str, object], name: str) -> date | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        found = date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{version}.{name} must be a day like 2027-01-31") from None
    if not 1970 <= found.year <= 9000:
        raise ValueError(f"{version}.{name} must be a day like 2027-01-31")
    return found


class Versioned:
    """ASGI middleware: what comes under a version is served as what it is without, and its deprecation is named."""

    def __init__(self, app: ASGIApp, *, deprecated: Mapping[str, Deprecation]) -> None:
        self._app = app
        self._headers = {version: one.headers for version, one in deprecated.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope.get("path", "")
        version = path[len(_PREFIX) :].partition("/")[0] if path.startswith(f"{_PREFIX}v") else ""
        if scope["type"] != "http" or version not in _VERSIONS:
            await self._app(scope, receive, send)
            return
        cut = len(_PREFIX) + len(version) + 1
        scope["path"] = _PREFIX + path[cut:]
        raw = scope.get("raw_path") or b""
        if raw.startswith(path[:cut].encode()):
            scope["raw_path"] = _PREFIX.encode() + raw[cut:]
        headers = self._headers.get(version)
        if headers is None:
            await self._app(scope, receive, send)
            return

        async def send_deprecated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self._app(scope, receive, send_deprecated)
