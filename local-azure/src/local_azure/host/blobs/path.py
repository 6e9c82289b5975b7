"""The path pattern of a blob trigger, such as `samples/{name}.csv`."""

import re
from urllib.parse import unquote, urlsplit

__all__ = ["BlobPath", "blob_of_url"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BlobPath:
    """A container and a pattern for names in it; a placeholder matches any text, slashes included.

    Raises
    ------
    ValueError
        The path is empty, its container has a placeholder, or its braces do not pair.
    """

    def __init__(self, path: str) -> None:
        self.container, _, name = path.strip("/").partition("/")
        if not self.container or "{" in self.container:
            raise ValueError(f"the blob path {path!r} must begin with the name of a container")
        pattern, position = "", 0
        for match in _PLACEHOLDER.finditer(name):
            pattern += re.escape(name[position : match.start()]) + f"(?P<{match[1]}>.+)"
            position = match.end()
        rest = name[position:]
        if "{" in _PLACEHOLDER.sub("", name) or "}" in _PLACEHOLDER.sub("", name):
            raise ValueError(f"the blob path {path!r} has a brace without its pair")
        self._pattern = re.compile(pattern + re.escape(rest) if name else ".+", re.DOTALL)
        first = name.find("{")
        self.prefix = name if first < 0 else name[:first]

    def match(self, blob: str) -> dict[str, str] | None:
        """The placeholders' values for a blob's name, or None if it does not fit."""
        found = self._pattern.fullmatch(blob)
        return None if found is None else found.groupdict()


def blob_of_url(url: str) -> tuple[str, str] | None:
    """Container and name in a blob's URL, with or without the account in its path; None if it has neither."""
    parts = urlsplit(url)
    segments = unquote(parts.path).lstrip("/").split("/")
    if parts.hostname in ("127.0.0.1", "localhost"):  # the storage emulator puts the account first
        segments = segments[1:]
    if len(segments) < 2 or not segments[0] or not segments[1]:
        return None
    return segments[0], "/".join(segments[1:])
