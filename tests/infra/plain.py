"""Bicep in the older syntax that checkov's parser knows: the same resources on the same lines, without own types.

Checkov skips what it can't parse and says nothing. Imports, `type` declarations, `@export()`, `@onlyIfNotExists()`,
`fail` and the types of parameters hold nothing that it looks at, so they are taken out before it looks.
"""

from __future__ import annotations

import re
from pathlib import Path

from tree_sitter import Language, Node, Parser
from tree_sitter_bicep import language

_PARSER = Parser(Language(language()))
_PLAIN = re.compile(rb"string|int|bool|object|array")


def plain_copy(source: Path, target: Path) -> list[Path]:
    """Copy a folder's Bicep files in plain syntax, and beside them what they load; return the copies."""
    copies = []
    for file in sorted(source.rglob("*")):
        if file.is_dir() or file.suffix == ".bicepparam":
            continue
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        copy.write_bytes(plain(content) if file.suffix == ".bicep" else content)
        if file.suffix == ".bicep":
            copies.append(copy)
    return copies


def plain(source: bytes) -> bytes:
    """One file in plain syntax; line numbers stay."""
    changes: list[tuple[int, int, bytes]] = []
    for node in _PARSER.parse(source).root_node.children:
        if node.type in ("import_functionality", "type_declaration"):
            changes.append((node.start_byte, node.end_byte, b"\n" * (node.text or b"").count(b"\n")))
        elif node.type == "decorators":
            changes += _decorators(node)
        elif node.type == "parameter_declaration":
            changes += _parameter_type(node)
    for start, end, text in sorted(changes, reverse=True):
        source = source[:start] + text + source[end:]
    return source.replace(b" fail(", b" string(")  # a function that is younger than the parser


def _decorators(node: Node) -> list[tuple[int, int, bytes]]:
    of_a_type = node.next_named_sibling is not None and node.next_named_sibling.type == "type_declaration"
    gone = [
        one for one in node.children if of_a_type or (one.text or b"").startswith((b"@export", b"@onlyIfNotExists"))
    ]
    return [(one.start_byte, one.end_byte, b"\n" * (one.text or b"").count(b"\n")) for one in gone]


def _parameter_type(node: Node) -> list[tuple[int, int, bytes]]:
    kind = next((child for child in node.children if child.type == "type"), None)
    if kind is None or _PLAIN.fullmatch(kind.text or b""):
        return []
    text = kind.text or b""
    simple = b"array" if text.rstrip(b"?").endswith(b"[]") else b"string" if b"'" in text else b"object"
    return [(kind.start_byte, kind.end_byte, simple)]
