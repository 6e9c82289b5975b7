"""The rules of the boundary (`dev.py check partners`): what integrations may do with the systems of others, and where.

A partner's module is one that declares a `Partner` at its top level. It alone imports an HTTP client, should it need
one, and it alone knows the partner's models. Many calls side by side go through `work.gather`, which bounds them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["broken_rules"]

HTTP_CLIENTS = frozenset(
    {"aiohttp", "httpx", "httpx2", "niquests", "requests", "urllib3", "urllib.request", "http.client", "pycurl"}
)
_MODEL = "PartnerModel"


def broken_rules(project: Path) -> Iterator[str]:
    """What breaks a rule in `integrations/`, each with its place."""
    root = project / "integrations"
    modules = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(root.rglob("*.py"))}
    models = {name: file for file, tree in modules.items() for name in _partner_models(tree)}
    for file, tree in modules.items():
        place = file.relative_to(project).as_posix()
        is_partners = _declares_partner(tree)
        for node in ast.walk(tree):
            if not is_partners:
                for name in _http_clients(node):
                    yield f"{place}:{_line(node)}: imports {name}: declare a Partner, and call it by work.call"
            if _is_gather(node):
                yield f"{place}:{_line(node)}: asyncio.gather bounds nothing: use work.gather(..., limit=16)"
            for name in _imported(node):
                if name in models and models[name] != file:
                    yield f"{place}:{_line(node)}: {name} is a partner's model, which stays in the partner's module"


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 1)


def _declares_partner(tree: ast.Module) -> bool:
    values = (one.value for one in tree.body if isinstance(one, ast.Assign | ast.AnnAssign))
    return any(isinstance(value, ast.Call) and _name(value.func) == "Partner" for value in values)


def _partner_models(tree: ast.Module) -> Iterator[str]:
    known = {_MODEL}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_name(base) in known for base in node.bases):
            known.add(node.name)
            yield node.name


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        yield from (one.name for one in node.names)


def _http_clients(node: ast.AST) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [one.name for one in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    for name in names:
        parts = name.split(".")
        if found := HTTP_CLIENTS & {".".join(parts[:count]) for count in range(1, len(parts) + 1)}:
            yield min(found)
            return


def _is_gather(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "asyncio" and any(one.name == "gather" for one in node.names)
    return isinstance(node, ast.Attribute) and node.attr == "gather" and _name(node.value) == "asyncio"


if __name__ == "__main__":
    broken = list(broken_rules(Path(__file__).resolve().parent.parent))
    sys.stdout.write("".join(f"{line}\n" for line in broken) or "integrations keep to the boundary\n")
    raise SystemExit(1 if broken else 0)
