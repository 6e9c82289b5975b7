"""Mounts an ASGI app in one HTTP function over the classic bridge, with paths as HTTP streams hand them over."""

from urllib.parse import unquote, urlsplit

import azure.functions as func
from starlette.types import ASGIApp

__all__ = ["ClassicBridge", "key_in_path"]


def key_in_path(segment: str) -> str:
    """The key that a path's last segment names: the platform leaves an encoded slash encoded, in either shape.

    A key that has the three characters `%2F` itself looks like one with a slash.
    """
    return segment.replace("%2F", "/").replace("%2f", "/")


class ClassicBridge:
    """The library's bridge, which decodes a path once more: what would change its meaning is encoded before."""

    def __init__(self, app: ASGIApp) -> None:
        self._bridge = func.AsgiMiddleware(app)

    async def answer(self, request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """Run the app for one request."""
        path = urlsplit(request.url).path
        if (kept := _kept(path)) != path:
            request = func.HttpRequest(
                method=request.method or "GET",
                url=request.url.replace(path, kept, 1),
                headers=dict(request.headers),
                params=dict(request.params),
                route_params=dict(request.route_params),
                body=request.get_body(),
            )
        answer: func.HttpResponse = await self._bridge.handle_async(request, context)
        return answer


def _kept(path: str) -> str:
    """A path whose encoded slashes, and whose bytes that are no UTF-8, are still encoded after one decoding.

    A semicolon is encoded: the library takes what follows it for parameters of the path, and drops that.
    """
    path = path.replace(";", "%3B")
    if "%" not in path:
        return path
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        return path.replace("%", "%25")
    return path.replace("%2F", "%252F").replace("%2f", "%252F")
