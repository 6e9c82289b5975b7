"""Paths beneath a partner's base URL that lead where they seem to. Pure."""

import re
from urllib.parse import unquote

__all__ = ["check_path", "endpoint_of"]

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)+/?")
"""Segments that mean what they say, and none that begins with a dot: most paths, which need no closer look."""


def check_path(path: str) -> None:
    """Refuse a path that leads elsewhere than where it seems to: a mistake in the handler, or an id that is hostile.

    Raises
    ------
    ValueError
    """
    if _PLAIN_PATH.fullmatch(path):
        return
    from yarl import URL  # what aiohttp makes of an address

    meant = unquote(path)
    if not path.startswith("/") or path.startswith("//") or any(one in path for one in "?#\\"):
        raise ValueError("a partner's path begins with one slash, and has no ?, # or backslash in it")
    if any(ord(one) < 32 or ord(one) == 127 for one in meant):
        raise ValueError("a partner's path has no control characters in it")
    if any(segment.partition(";")[0] in (".", "..") for segment in meant.split("/")):
        raise ValueError("a partner's path has no . or .. in it")
    if unquote(URL(f"http://partner{path}").raw_path) != meant:
        raise ValueError("a partner's path is sent as it is written")


def endpoint_of(path: str) -> str:
    """The class of endpoints that a path belongs to: its first segment."""
    return path.strip("/").partition("/")[0] or "/"
