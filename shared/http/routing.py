"""Routes as values: method, path, endpoint, and who may call it; a table that finds the route of a request."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.authentication import GRANTED, Role

__all__ = [
    "ANONYMOUS",
    "EVERY_ROLE",
    "PRODUCERS",
    "READERS",
    "RECIPIENTS",
    "Access",
    "Route",
    "RouteTable",
    "WrongRoute",
]

Endpoint = Callable[[Request], Awaitable[Response]]
Access = frozenset[Role] | None
"""The roles of which a caller needs one; None lets everybody in, or leaves the check to the endpoint itself."""

ANONYMOUS: Access = None
PRODUCERS: Access = frozenset({Role.PRODUCER})
READERS: Access = frozenset({Role.READER, Role.OPERATOR})
EVERY_ROLE: Access = frozenset(GRANTED)
RECIPIENTS: Access = frozenset({Role.RECIPIENT})
_PREFIX = "/api/"
_PATH = re.compile(r"\$?[A-Za-z0-9._~-]+(\('\{[A-Za-z]\w*\}'\))?|\{[A-Za-z]\w*\}")


class WrongRoute(ValueError):
    """A route can't be served; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path under `/api`.

    Attributes
    ----------
    path:
        Without the prefix and without a slash before or after, empty for the prefix itself; a part in braces is a
        parameter: `orders/{key}`.
    access:
        Who may call it; ANONYMOUS lets everybody in.
    scheme:
        For a route that checks its callers by itself, for example by a signature: how, in a few words.
    query:
        Names of the query parameters that it takes; any other is refused.
    docs:
        An OpenAPI operation that describes it; what all routes have in common is added.
    streams:
        Its answer comes piece by piece, for longer than another may take: no proxy may hold it back.
    described:
        Whether the API's description has it; the gateway has it all the same.
    seconds:
        What a GET may take, where that isn't what all others may.
    direct:
        Goes to its endpoint straight, past FastAPI's middleware; for paths without parameters.
    limited_as:
        The name of the route whose limits count for it too: it is the same under another path.
    """

    method: str
    path: str
    endpoint: Endpoint
    access: Access
    scheme: str | None = None
    query: frozenset[str] = frozenset()
    docs: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = False
    described: bool = True
    seconds: float | None = None
    direct: bool = False
    limited_as: str = ""

    def __post_init__(self) -> None:
        if self.path and not all(_PATH.fullmatch(part) for part in self.path.split("/")):
            raise WrongRoute(f"the route {self.method} /api/{self.path} isn't well-formed")
        if self.direct and "{" in self.path:
            raise WrongRoute(f"the route {self.method} /api/{self.path} has parameters, so it can't go straight")

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def full_path(self) -> str:
        """With the prefix."""
        return _PREFIX + self.path

    @property
    def name(self) -> str:
        """Method and path without the prefix, as people name it: `POST /orders`."""
        return f"{self.method} /{self.path}"

    @property
    def limit(self) -> str:
        """The name under which plans limit it."""
        return self.limited_as or self.name

    @property
    def is_anonymous(self) -> bool:
        """Everybody may call it, and nobody has to say who they are."""
        return self.access is None and self.scheme is None

    @property
    def shape(self) -> str:
        """Two routes of one shape can't be distinguished: the path with its parameters' names left out."""
        return re.sub(r"\{\w+\}", "{}", self.path)


class RouteTable:
    """Which route a request is for and who may call it; made once, asked for every request.

    What no route has, readers may ask for and producers may send: they learn that it isn't there, a stranger doesn't.

    Example
    -------
    >>> sorted(RouteTable([]).access("POST", "/api/nothing") or ())
    [<Role.PRODUCER: 'producer'>]
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Route]] = []
        self._anonymous: set[str] = set()
        for route in self.routes:
            if "{" in route.path:
                pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.full_path))
                self._patterns.append((route.method, re.compile(pattern), route))
            else:
                self._exact[(route.method, route.full_path)] = route
                if route.is_anonymous:
                    self._anonymous.add(route.full_path)

    def access(self, method: str, path: str) -> Access:
        """Who may send this request; what is for everybody answers a wrong method to everybody."""
        if path in self._anonymous:
            return None
        route = self.find(method, path)
        if route is not None:
            return route.access
        return READERS if method in ("GET", "HEAD") else PRODUCERS

    def find(self, method: str, path: str) -> Route | None:
        """The route of a request; None where there is none."""
        asked = "GET" if method == "HEAD" else method
        if (exact := self._exact.get((asked, path))) is not None:
            return exact
        for route_method, pattern, route in self._patterns:
            if route_method == asked and pattern.fullmatch(path):
                return route
        return None
