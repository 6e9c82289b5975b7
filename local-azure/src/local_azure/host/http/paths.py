"""Request paths as Kestrel reads them: decoded but for slashes, without dot segments."""

import re
from urllib.parse import unquote

__all__ = ["BadPath", "read_path"]

_ENCODED_SLASH = re.compile(r"(%2[fF])")


class BadPath(ValueError):
    """A path that is answered with 400."""


def read_path(raw: str) -> str:
    """The path that routes are matched with.

    An encoded slash stays as it came, also `%2f`; encoded dots make dot segments like others.

    Raises
    ------
    BadPath
        The path has a null character.
    """
    path = raw
    if "%" in raw:
        path = "".join(part if part[:3].lower() == "%2f" else _decoded(part) for part in _ENCODED_SLASH.split(raw))
        if "\0" in path:
            raise BadPath("the path has a null character")
    return _without_dots(path) if "/." in path else path


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        return part


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
        if last and segment in (".", ".."):
            kept.append("")
    return "/" + "/".join(kept)
