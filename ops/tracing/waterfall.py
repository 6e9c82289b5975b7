"""A tree as text: a line for each step with its bar, waits as bars of their own, and the next useful command. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.telemetry import Name

from .tree import DEAD, RETRY, Node, Tree, folded

__all__ = ["MOST_LINES", "headline", "next_command", "waterfall"]

MOST_LINES = 200
_LONGEST_LABEL, _SHORTEST_BARS = 44, 16
_WORK, _FAILED, _WAIT = "█▓░"
_PLAIN = str.maketrans({"█": "#", "▓": "x", "░": ".", "×": "x", "·": "-", "…": "~", "✓": "+", "✗": "x"})


def waterfall(tree: Tree, *, width: int = 120, every_attempt: bool = False, unicode: bool = True) -> str:
    """The lines for a terminal of that width.

    Parameters
    ----------
    every_attempt:
        Show attempts that were retried one by one.
    unicode:
        Whether the terminal knows more than ASCII.
    """
    lines = list(_lines(tree.roots, 0, every_attempt))
    shown = lines[:MOST_LINES]
    label = min(_LONGEST_LABEL, max(len(_label(node, depth)) for depth, node in shown))
    bars = max(_SHORTEST_BARS, width - label - 38)
    begin, whole = tree.started, max(1, tree.ended - tree.started)
    text = [headline(tree), ""]
    for depth, node in shown:
        bar = _bar(node, begin, whole, bars)
        offset = f"{(node.started - begin) / 1e9:8.3f}"
        name = _label(node, depth)
        name = name if len(name) <= label else name[: label - 1] + "…"
        text.append(
            f"{offset}  {name:<{label}} {bar} {_duration(node.ended - node.started):>8}  {_detail(node)}".rstrip()
        )
    if len(lines) > MOST_LINES:
        text.append(f"… and {len(lines) - MOST_LINES} more lines: --json has all")
    text += ["", next_command(tree)]
    whole_text = "\n".join(_printable(line) for line in text)
    return whole_text if unicode else whole_text.translate(_PLAIN)


def _lines(nodes: Sequence[Node], depth: int, every_attempt: bool) -> Iterator[tuple[int, Node]]:
    for node in nodes if every_attempt else folded(nodes):
        yield depth, node
        yield from _lines(node.children, depth + 1, every_attempt)


def headline(tree: Tree) -> str:
    """What it is, and what became of it, in one line."""
    spans = [node.span for _, node in tree.nodes() if node.span is not None]
    first = next((one.attributes for one in spans if Name.EVENT_TYPE in one.attributes), {})
    message = next((one.attributes[Name.MESSAGE_ID] for one in spans if Name.MESSAGE_ID in one.attributes), "")
    what = " ".join(str(one) for one in (first.get(Name.EVENT_TYPE, spans[0].name if spans else ""), message) if one)
    attempts = len(tree.attempts)
    parts = [f"{what}: {tree.outcome} after {_duration(tree.ended - tree.started)}"]
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    if size := next((one.attributes[Name.CLAIM_SIZE] for one in spans if Name.CLAIM_SIZE in one.attributes), None):
        parts.append(f"claim {_size(size)}")
    return ", ".join(parts) + f"  trace {tree.trace}"


def next_command(tree: Tree) -> str:
    """What to type next."""
    attempts = tree.attempts
    message = str(attempts[-1].attributes.get(Name.MESSAGE_ID, "")) if attempts else ""
    match tree.outcome:
        case "dead":
            return f"next: python3 dev.py dead-letters show {message}"
        case "retry" | "deferred":
            return f"next: python3 dev.py trace {message} --follow"
        case "parked":
            key = attempts[-1].attributes.get(Name.KEY, "")
            return f"next: python3 dev.py trace {key}  (it waits behind an earlier message of its key)"
        case "waiting":
            return "next: python3 dev.py pauses  (nobody has taken it yet: its lane may be paused, or busy)"
        case _:
            return f"next: python3 dev.py trace {message or tree.trace} --mermaid  (the same, for a ticket)"


def _label(node: Node, depth: int) -> str:
    times = f" ×{node.folded + 1}" if node.folded else ""
    return "  " * min(depth, 12) + (f"· {node.wait}" if node.wait else node.name) + times


def _bar(node: Node, begin: int, whole: int, width: int) -> str:
    first = min(width - 1, (node.started - begin) * width // whole)
    length = min(width - first, max(1, round((node.ended - node.started) * width / whole)))
    failed = node.span is not None and node.span.problem is not None
    mark = _WAIT if node.wait else _FAILED if failed else _WORK
    return " " * first + mark * length + " " * (width - first - length)


def _detail(node: Node) -> str:
    if node.span is None:
        return ""
    given = node.attributes
    parts: list[str] = []
    if (outcome := given.get(Name.OUTCOME)) is not None:
        mark = "✗ " if outcome in (DEAD, RETRY) else "✓ " if outcome == "done" else ""
        parts.append(f"{mark}{outcome}")
        if given.get(Name.ATTEMPT, 1) > 1 or outcome == RETRY:
            parts.append(f"attempt {given.get(Name.ATTEMPT)}")
    for name, says in _SAYS.items():
        if given.get(name) is not None:
            parts.append(says(given[name]))
    if node.span.problem:
        parts.append(node.span.problem[:80])
    return " ".join(parts)


_SAYS: Mapping[str, Callable[[Any], str]] = {
    Name.HTTP_STATUS: str,
    Name.CODE: str,
    Name.RETRY_SECONDS: lambda value: f"again in {float(value):.1f} s",
    Name.BODY_SIZE: lambda value: _size(value),
    Name.CLAIM_SIZE: lambda value: f"claim {_size(value)}",
    Name.BATCH_COUNT: lambda value: f"{value} messages",
    Name.OPERATIONS: lambda value: f"{value} rows",
    Name.ROWS: lambda value: f"{value} rows",
    Name.EVENTS: lambda value: f"{value} events",
}
"""What a line says of its span, by attribute."""


def _size(value: Any) -> str:
    number = float(value)
    for unit in ("B", "kB", "MB"):
        if number < 1_000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:.1f} GB"


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    if seconds < 0.1:
        return f"{seconds * 1_000:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _printable(line: str) -> str:
    """No control character of what somebody sent reaches the terminal."""
    return "".join(one if one.isprintable() else "?" for one in line)
