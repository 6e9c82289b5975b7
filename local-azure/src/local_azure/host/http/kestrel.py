"""aiohttp's server with Kestrel's limits, and its answers to what is no request for anybody."""

import asyncio
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

__all__ = ["KestrelServer", "refusal"]

_REQUEST_LINE = 8192
_HEADERS = 32_768
_HEADER_COUNT = 100


class _Connection(web.RequestHandler):
    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What could not be parsed, without a body; the connection is closed."""
        if isinstance(exc, LineTooLong):
            status = 414 if str(exc.args[1]) == str(_REQUEST_LINE) else 431
        elif isinstance(exc, BadHttpMethod):
            status = 404  # Kestrel takes any method; no function is routed to it
        request._version = HttpVersion11  # what could not be parsed counts as 1.0 otherwise
        response = web.Response(status=status, headers={"Server": "Kestrel"})
        response.force_close()
        return response


class KestrelServer(web.Server):
    """Serves connections; bodies are handed on as they come, compressed ones too."""

    def __init__(self, handler: Any, *, request_factory: Any, keepalive_timeout: float) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": keepalive_timeout,
            "auto_decompress": False,
            "max_line_size": _REQUEST_LINE,
            "max_field_size": _HEADERS,
            "max_headers": 2 * _HEADER_COUNT,
        }
        super().__init__(handler, request_factory=request_factory, **options)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


def refusal(request: web.BaseRequest) -> int:
    """The status with which Kestrel refuses a request for its headers; 0 if it does not."""
    headers = request.raw_headers
    if not request.headers.get("Host") and request.version >= (1, 1):
        return 400
    everything = b"".join([part for pair in headers for part in pair])
    if len(headers) > _HEADER_COUNT or len(everything) + 4 * len(headers) > _HEADERS:
        return 431
    return 0 if everything.isascii() else 400
