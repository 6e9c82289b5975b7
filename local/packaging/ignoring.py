"""`.funcignore`: what is not deployed, in the pattern language of `.gitignore`, as Core Tools read it.

Source: the pattern format of gitignore(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["IgnoreList"]


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re.Pattern[str]
    folders_only: bool
    keeps: bool


class IgnoreList:
    """The patterns of one file; the last that fits decides, and what lies in an ignored folder stays ignored."""

    def __init__(self, text: str) -> None:
        lines = (line.rstrip() for line in text.splitlines())
        self._patterns = [_pattern(line) for line in lines if line and not line.startswith("#")]

    def ignores(self, path: str) -> bool:
        """Whether a file is left out; its path is relative to the list's folder, with forward slashes."""
        parts = path.split("/")
        ancestors = ("/".join(parts[: length + 1]) for length in range(len(parts) - 1))
        return any(self._decides(folder, is_folder=True) for folder in ancestors) or self._decides(
            path, is_folder=False
        )

    def _decides(self, path: str, *, is_folder: bool) -> bool:
        ignored = False
        for pattern in self._patterns:
            if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(path):
                ignored = not pattern.keeps
        return ignored


def _pattern(line: str) -> _Pattern:
    keeps = line.startswith("!")
    body = line.removeprefix("!").removeprefix("\\")
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    anchored = "/" in body
    expression = _expression(body.removeprefix("/"))
    return _Pattern(re.compile(expression if anchored else f"(?:.*/)?{expression}"), folders_only, keeps)


_TOKEN = re.compile(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)
_WILD = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _expression(glob: str) -> str:
    return "".join(_translated(token) for token in _TOKEN.findall(glob))


def _translated(token: str) -> str:
    if token in _WILD:
        return _WILD[token]
    if len(token) > 2 and token.startswith("["):
        return "[^" + token[2:] if token.startswith("[!") else token
    return re.escape(token)
