"""A tree as a Mermaid sequence diagram for a ticket, and what calls what as a Mermaid flowchart. Pure."""

from collections import Counter
from collections.abc import Iterable

from shared.telemetry import Name
from shared.telemetry.span_store import StoredSpan

from .tree import Node, Tree

__all__ = ["sequence", "topology"]

MOST_STEPS = 200


def sequence(tree: Tree) -> str:
    """The steps of a trace, each as a message to the part of the app that took it, waits as notes."""
    lines = ["sequenceDiagram", "    autonumber"]
    steps = 0
    for _, node in tree.nodes():
        if steps == MOST_STEPS:
            lines.append("    Note over app: … and more")
            break
        steps += 1
        offset = f"{(node.started - tree.started) / 1e9:.3f} s"
        took = f"{(node.ended - node.started) / 1e6:.1f} ms"
        if node.wait:
            lines.append(f"    Note over app: {node.wait}: waits {(node.ended - node.started) / 1e9:.2f} s")
            continue
        here, there, dashed = _ends(node)
        what = node.name
        if (outcome := node.attributes.get(Name.OUTCOME)) is not None:
            what = f"{what}, {outcome}"
        arrow = "--x" if node.span is not None and node.span.problem is not None else "-->>" if dashed else "->>"
        lines.append(f"    {here}{arrow}{there}: {_text(what)} ({offset}, {took})")
    return "\n".join(lines) + "\n"


def _ends(node: Node) -> tuple[str, str, bool]:
    """Who calls whom in a step, and whether it goes by a queue."""
    kind = "" if node.span is None else node.span.kind
    system = _system(node)
    match kind:
        case "server":
            return "client", "app", False
        case "producer":
            return "app", system, True
        case "consumer":
            return system, "app", True
        case "client":
            return ("app", system, False) if node.name.split(" ")[0] != "receive" else (system, "app", True)
        case _:
            return "app", "app", False


def _system(node: Node) -> str:
    given = node.attributes
    verb, _, what = node.name.partition(" ")
    named = what if verb in ("send", "receive", "process") else "claims" if what == "claim" else "store"
    name = given.get(Name.DESTINATION) or given.get("server.address") or named
    return _identifier(str(name))


def topology(spans: Iterable[StoredSpan]) -> str:
    """What was seen to call what, with how often and how often it failed."""
    calls: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for span in spans:
        here, there, _ = _ends(Node(span.name, span.started, span.ended, span))
        if here == there:
            continue
        app = _identifier(span.process.partition("/")[0] or "app")
        pair = (app if here == "app" else here, app if there == "app" else there)
        calls[pair] += 1
        failed[pair] += span.problem is not None
    lines = ["flowchart LR"]
    for (here, there), count in sorted(calls.items()):
        errors = f", {failed[here, there]} failed" if failed[here, there] else ""
        lines.append(f'    {here}["{here}"] -->|"{count}{errors}"| {there}["{there}"]')
    return "\n".join(lines) + "\n"


def _identifier(text: str) -> str:
    name = "".join(one if one.isascii() and one.isalnum() else "_" for one in text)[:40]
    return f"{name}_" if name.lower() in ("end", "") else name


def _text(text: str) -> str:
    """Nothing that Mermaid reads as its own."""
    return "".join(one if one.isprintable() and one not in '#;:<>"`{}' else " " for one in text)[:80]
