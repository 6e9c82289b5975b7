"""The tree of a message from its spans: who called whom, and where it waited in between. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.telemetry import Name
from shared.telemetry.span_store import StoredSpan

__all__ = ["Node", "Tree", "folded", "of_message", "tree_of"]

SHORTEST_WAIT = 1_000_000
"""Nanoseconds; what waits less isn't shown."""
RETRY, DEAD = "retry", "dead"
EVENT_LOG = "event log"


@dataclass(slots=True)
class Node:
    """A span, or a wait, with what followed from it.

    Attributes
    ----------
    wait:
        What was waited for: queue, retry, turn, pause, outbox or event log; empty for a span.
    folded:
        Earlier attempts that this line stands for.
    """

    name: str
    started: int
    ended: int
    span: StoredSpan | None = None
    wait: str = ""
    folded: int = 0
    children: list["Node"] = field(default_factory=list)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Of its span."""
        return {} if self.span is None else self.span.attributes


@dataclass(frozen=True, slots=True)
class Tree:
    """All that is known of a trace."""

    trace: str
    roots: Sequence[Node]

    def nodes(self) -> Iterator[tuple[int, Node]]:
        """Each with its depth, in the order of a waterfall."""

        def below(node: Node, depth: int) -> Iterator[tuple[int, Node]]:
            yield depth, node
            for child in node.children:
                yield from below(child, depth + 1)

        for root in self.roots:
            yield from below(root, 0)

    @property
    def started(self) -> int:
        """When it began."""
        return min(node.started for _, node in self.nodes())

    @property
    def ended(self) -> int:
        """When what is known of it was over."""
        return max(node.ended for _, node in self.nodes())

    @property
    def attempts(self) -> list[StoredSpan]:
        """Every processing of the message, in order."""
        spans = [node.span for _, node in self.nodes() if node.span is not None and Name.OUTCOME in node.attributes]
        return sorted(spans, key=lambda span: span.started)

    @property
    def outcome(self) -> str:
        """What became of the message: done, dead, retry …, `waiting` where nobody has taken it yet, or `failed`."""
        if attempts := self.attempts:
            return str(attempts[-1].attributes[Name.OUTCOME])
        spans = [node.span for _, node in self.nodes() if node.span is not None]
        if any(span.problem is not None for span in spans):
            return "failed"
        return "waiting" if any(span.kind == "producer" for span in spans) else "answered"


def tree_of(trace: str, spans: Sequence[StoredSpan]) -> Tree:
    """The tree of a trace.

    A span of another trace hangs below the first span of this one that it links to: a batch, or what it did for
    several messages at once. One whose parent isn't known is a root.
    """
    nodes = {span.span: Node(span.name, span.started, span.ended, span) for span in spans}
    own = {span.span for span in spans if span.trace == trace}
    roots: list[Node] = []
    for span in spans:
        node = nodes[span.span]
        above = span.parent if span.trace == trace else next((one for of, one in span.links if of == trace), "")
        while above in own and _is_attempt(span) and _is_attempt(nodes[above].span, of=span) and above != span.span:
            above = getattr(nodes[above].span, "parent", "")  # a later attempt stands beside the first one
        if above in own and not _is_below(nodes, own, above, span.span):
            nodes[above].children.append(node)
        else:
            roots.append(node)
    for node in nodes.values():
        node.children.sort(key=lambda child: (child.started, child.ended))
    for node in nodes.values():
        node.children = list(_with_waits(node, node.children))
    for node in nodes.values():
        _since_published(node)
    return Tree(trace, sorted(roots, key=lambda root: root.started))


def _is_below(nodes: Mapping[str, Node], own: set[str], above: str, span: str) -> bool:
    """Whether a span would be its own ancestor: whoever sends spans may send anything."""
    seen: set[str] = set()
    while above in own and above not in seen:
        if above == span:
            return True
        seen.add(above)
        found = nodes[above].span
        above = "" if found is None else found.parent
    return above in seen


def _is_attempt(span: StoredSpan | None, *, of: StoredSpan | None = None) -> bool:
    if span is None or Name.OUTCOME not in span.attributes:
        return False
    return of is None or span.attributes.get(Name.MESSAGE_ID) == of.attributes.get(Name.MESSAGE_ID)


def of_message(tree: Tree, message: str) -> Tree:
    """Only what concerns one message, where a trace has many: what is about it, below that, and on the way there."""

    def kept(node: Node) -> Node | None:
        if node.attributes.get(Name.MESSAGE_ID) == message or node.wait:
            return node
        children = [one for child in node.children if (one := kept(child)) is not None]
        if not any(child.span is not None for child in children):
            return None
        return Node(node.name, node.started, node.ended, node.span, node.wait, node.folded, children)

    roots = [one for root in tree.roots if (one := kept(root)) is not None]
    return Tree(tree.trace, roots) if roots else tree


def _with_waits(above: Node, children: Sequence[Node]) -> Iterator[Node]:
    """The children, each after what it waited for."""
    last: dict[str, Node] = {}
    committed: Node | None = None
    for child in children:
        message = str(child.attributes.get(Name.MESSAGE_ID, ""))
        wait, since = "", above.ended
        if child.name.startswith("process ") and Name.OUTCOME in child.attributes:
            before = last.get(message)
            wait, since = ("queue", above.ended) if before is None else (_waited_for(before), before.ended)
            last[message] = child
        elif child.span is not None and child.span.kind == "consumer":
            wait = EVENT_LOG
        elif child.name == "publish" and committed is not None:
            wait, since = "outbox", committed.ended
        if child.name == "transaction":
            committed = child
        if wait and child.started - since >= SHORTEST_WAIT:
            yield Node(wait, since, child.started, wait=wait)
        yield child


def _waited_for(before: Node) -> str:
    """What a message waited for after an attempt: its delay, its turn behind its key, or the end of a pause."""
    return {"parked": "turn", "deferred": "pause"}.get(str(before.attributes[Name.OUTCOME]), RETRY)


def _since_published(attempt: Node) -> None:
    """What consumes an attempt's events waits from the moment when they were published."""
    published = next((child for child in attempt.children if child.name == "publish"), None)
    for handled in attempt.children if published is not None else ():
        for wait in handled.children:
            if wait.wait == EVENT_LOG and published is not None:
                wait.started = min(published.ended, wait.ended)


def folded(children: Sequence[Node]) -> list[Node]:
    """Attempts that were retried as one line, with the last error; what came of the last attempt stays."""
    shown: list[Node] = []
    for child in children:
        retried = child.attributes.get(Name.OUTCOME) == RETRY
        before = next((one for one in reversed(shown) if not one.wait), None)
        same = before is not None and before.attributes.get(Name.OUTCOME) == RETRY
        if before is not None and same and retried and _message(before) == _message(child):
            while shown[-1].wait:
                shown.pop()
            shown[-1] = Node(child.name, before.started, child.ended, child.span, folded=before.folded + 1)
        else:
            shown.append(child)
    return shown


def _message(node: Node) -> object:
    return node.attributes.get(Name.MESSAGE_ID)
