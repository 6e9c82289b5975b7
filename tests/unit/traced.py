"""What is traced while a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.telemetry import TRACING, RecordedSpan

__all__ = ["Traced", "traced"]


class Traced:
    """Keeps ended spans."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

    def take(self, span: RecordedSpan) -> None:
        """One more."""
        self.spans.append(span)

    def close(self, seconds: float) -> None:
        """Nothing is open."""

    def named(self, name: str) -> RecordedSpan:
        """The one span of that name."""
        (found,) = [one for one in self.spans if one.name == name]
        return found

    def written(self) -> str:
        """Everything that they hold."""
        return " ".join(
            f"{one.name} {one.attributes} {one.events} {one.problem} {[link.attributes for link in one.links]}"
            for one in self.spans
        )


@contextmanager
def traced(*, ratio: float = 1.0, slow_seconds: float = float("inf")) -> Iterator[Traced]:
    """Trace, and tell what was traced."""
    kept = Traced()
    TRACING.start(kept, ratio=ratio, slow_seconds=slow_seconds)
    try:
        yield kept
    finally:
        TRACING.stop()
