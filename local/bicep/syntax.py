"""A template as its declarations, each with the syntax tree of its value."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tree_sitter import Language, Node, Parser
from tree_sitter_bicep import language

from .errors import BicepError

__all__ = ["Declaration", "Document", "decorator", "line_of", "named", "read", "read_text", "text_of"]

_PARSER = Parser(Language(language()))

_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "type_declaration": "type",
}
_IGNORED = {"comment", "diagnostic_comment", "target_scope_assignment", "metadata_declaration", "using_statement"}


@dataclass(frozen=True, eq=False)
class Declaration:
    """One `param`, `var`, `resource`, `module`, `output` or `type`.

    `kind_of` is the type of a parameter or output as written, `resource type@version` or a module's file. `value` is
    the syntax tree of what stands behind `=`, None for a parameter without a default, `type` that of `kind_of`.
    """

    kind: str
    name: str
    line: int
    kind_of: str
    value: Node | None
    existing: bool
    decorators: dict[str, Node | None] = field(default_factory=dict)
    type: Node | None = None

    @property
    def has_default(self) -> bool:
        """Whether a parameter may be left out."""
        return self.value is not None or self.kind_of.endswith("?")

    @property
    def description(self) -> str:
        """The text of its `@description`, empty without one."""
        node = self.decorators.get("description")
        return text_of(node).strip("'").strip() if node is not None else ""


@dataclass(frozen=True, eq=False)
class Document:
    """A template's declarations by name, and what it imports: name here → (file, name there)."""

    file: Path
    source: str
    declarations: dict[str, Declaration]
    outputs: dict[str, Declaration]
    imports: dict[str, tuple[Path, str]]

    def of_kind(self, kind: str) -> dict[str, Declaration]:
        """The declarations of one kind, in the order of the file."""
        if kind == "output":
            return dict(self.outputs)
        return {name: one for name, one in self.declarations.items() if one.kind == kind}


def read(file: Path) -> Document:
    """Read a template.

    Raises
    ------
    BicepError
        Not Bicep that the grammar knows.
    OSError
        The file can't be read.
    """
    return read_text(file, file.read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def read_text(file: Path, source: str) -> Document:
    """Read a template whose text is at hand; `file` is where it stands, for errors and relative paths.

    A module that is deployed many times is read once.
    """
    root = _PARSER.parse(source.encode()).root_node
    if root.has_error:
        raise BicepError(file, _first_error(root), "is not Bicep that can be read")
    declarations: dict[str, Declaration] = {}
    outputs: dict[str, Declaration] = {}
    imports: dict[str, tuple[Path, str]] = {}
    decorators: dict[str, Node | None] = {}
    for node in named(root):
        if node.type == "decorators":
            decorators = dict(decorator(one) for one in named(node))
        elif node.type == "import_functionality":
            imports.update(_imported(file, node))
        elif node.type in _KINDS:
            one = _declaration(file, node, decorators)
            (outputs if one.kind == "output" else declarations)[one.name] = one
            decorators = {}
        elif node.type not in _IGNORED:
            raise BicepError(file, line_of(node), f"{node.type} is not supported")
    return Document(file, source, declarations, outputs, imports)


def named(node: Node) -> list[Node]:
    """A node's children without punctuation and comments."""
    return [child for child in node.children if child.is_named and not child.type.endswith("comment")]


def text_of(node: Node | None) -> str:
    """The source of a node."""
    return (node.text or b"").decode() if node is not None else ""


def line_of(node: Node) -> int:
    """The line on which a node begins, counted from 1."""
    return int(node.start_point[0]) + 1


def _first_error(node: Node) -> int:
    while True:
        broken = next((child for child in node.children if child.has_error or child.is_missing), None)
        if broken is None or node.type == "ERROR":
            return line_of(node)
        node = broken


def decorator(node: Node) -> tuple[str, Node | None]:
    """The name of a decorator and its first argument."""
    call = named(node)[0]
    parts = named(call)
    arguments = named(parts[1]) if len(parts) > 1 else []
    return text_of(parts[0]), arguments[0] if arguments else None


def _imported(file: Path, node: Node) -> dict[str, tuple[Path, str]]:
    *names, source = named(node)
    target = file.parent / text_of(source).strip("'")
    return {text_of(name): (target, text_of(name)) for name in names}


def _declaration(file: Path, node: Node, decorators: dict[str, Node | None]) -> Declaration:
    kind = _KINDS[node.type]
    name, *rest = named(node)
    kind_of, written = "", None
    if kind in ("param", "output", "resource", "module"):
        written = rest.pop(0)
        kind_of = text_of(written).strip("'")
    if kind in ("resource", "module") and not rest:
        raise BicepError(file, line_of(node), f"{kind} {text_of(name)} has no body")
    return Declaration(
        kind=kind,
        name=text_of(name),
        line=line_of(node),
        kind_of=kind_of,
        value=rest[-1] if rest else None,
        existing=any(child.type == "existing" for child in node.children),
        decorators=decorators,
        type=written,
    )
