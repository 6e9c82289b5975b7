"""How a partner says where the next page of a list is: a Link header, a cursor, or nothing but an offset. Pure.

What is asked for next is always beneath the partner's base URL: a page's word sends no key elsewhere.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

__all__ = ["CursorPages", "LinkPages", "OffsetPages", "Page", "Pages"]

_LINK = re.compile(r'\s*<([^<>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+(?:\s*=\s*(?:"[^"\\]*"|[^\s";,]*))?)*)\s*(?:,|$)')
_PARAMETER = re.compile(r';\s*([\w!#$&+.^`|~*-]+)(?:\s*=\s*(?:"([^"\\]*)"|([^\s";,]*)))?')
_PORTS = {"http": 80, "https": 443}
_LONGEST = 8_192
"""Characters of a Link header that is read."""


class Page(NamedTuple):
    """What is asked for: a path beneath the base URL, and query parameters."""

    path: str
    query: Mapping[str, str]


class Pages(Protocol):
    """Knows what to ask for, page after page."""

    def first(self, page: Page) -> Page:
        """What the handler asked for, as the first page is asked for."""
        ...

    def after(self, page: Page, answer: Any, headers: Mapping[str, str], base_url: str) -> Page | None:
        """The page after this one; None where it was the last. Raises ValueError where it can't be asked for."""
        ...


@dataclass(frozen=True)
class LinkPages:
    """The next page is the target of `Link: <…>; rel="next"` (RFC 8288), which may be relative."""

    relation: str = "next"

    def first(self, page: Page) -> Page:
        """See `Pages`."""
        return page

    def after(self, page: Page, answer: Any, headers: Mapping[str, str], base_url: str) -> Page | None:
        """See `Pages`."""
        target = _linked(headers.get("link", ""), self.relation)
        return None if target is None else _beneath(base_url, urljoin(base_url + page.path, target))


@dataclass(frozen=True)
class CursorPages:
    """The next page is asked for with a cursor that the page holds.

    Parameters
    ----------
    read:
        From a page to the cursor of the next; None or an empty one where there is none.
    query:
        The parameter that carries it.
    alone:
        It goes without the other parameters, since it says the rest.
    """

    read: Callable[[Any], str | None]
    query: str = "cursor"
    alone: bool = False

    def first(self, page: Page) -> Page:
        """See `Pages`."""
        return page

    def after(self, page: Page, answer: Any, headers: Mapping[str, str], base_url: str) -> Page | None:
        """See `Pages`."""
        cursor = self.read(answer)
        others = {} if self.alone else page.query
        return Page(page.path, {**others, self.query: cursor}) if cursor else None


@dataclass(frozen=True)
class OffsetPages:
    """Pages of a size, by the number of what came before; the first that isn't full is the last.

    Parameters
    ----------
    count:
        From a page to the number of things on it.
    size:
        Things of a full page; the parameter `size_query` asks for so many.
    start, step:
        The first value of the parameter `query`, and by how much it grows: 1 and 1 for pages that are numbered. Without
        a step it grows by the things that came.
    """

    count: Callable[[Any], int]
    size: int
    query: str = "offset"
    size_query: str = "limit"
    start: int = 0
    step: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or self.size < 1 or (self.step is not None and self.step < 1):
            raise ValueError("OffsetPages: size and step are 1 or more")

    def first(self, page: Page) -> Page:
        """See `Pages`."""
        return Page(page.path, {**page.query, self.query: str(self.start), self.size_query: str(self.size)})

    def after(self, page: Page, answer: Any, headers: Mapping[str, str], base_url: str) -> Page | None:
        """See `Pages`."""
        came = self.count(answer)
        if came < self.size:
            return None
        offset = int(page.query[self.query]) + (came if self.step is None else self.step)
        return Page(page.path, {**page.query, self.query: str(offset)})


def _linked(header: str, relation: str) -> str | None:
    """The target of the first link of a relation (RFC 8288, 3); the rest of a header that is malformed says nothing."""
    position = 0
    while len(header) <= _LONGEST and (link := _LINK.match(header, position)) and link.end() > position:
        position = link.end()
        for name, quoted, token in _PARAMETER.findall(link[2]):
            if name.lower() == "rel":
                if relation in (quoted or token).lower().split():
                    return link[1]
                break  # only the first rel of a link counts
    return None


def _beneath(base_url: str, url: str) -> Page:
    base, parts = urlsplit(base_url), urlsplit(url)
    root = base.path.rstrip("/")
    if _origin(parts) != _origin(base) or not parts.path.startswith(root + "/"):
        raise ValueError("its next page is elsewhere")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise ValueError("its next page has a parameter twice")
    return Page(parts.path.removeprefix(root), query)


def _origin(parts: SplitResult) -> tuple[object, ...]:
    """What a URL leads to, with the port that its scheme means; a port that is none raises ValueError."""
    return parts.scheme, parts.username, parts.password, parts.hostname, parts.port or _PORTS.get(parts.scheme)
