"""What tracing adds to the CPU of a message on the dispatch path: off, of a sampled share, and of every message."""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

from opentelemetry.trace import INVALID_SPAN, Span

from functions.composition import Composition
from functions.composition.state import state_store
from shared.telemetry import TRACING, RecordedSpan
from shared.telemetry.logs import configure_json
from shared.telemetry.span_store import SpanWriter

from .dispatch import BATCH, Wire, dispatched, in_memory, wire
from .harness import Figure, Joint
from .messages import orders

BATCHES_A_ROUND = 6
_SEAMS = ("shared.processing.pipeline", "shared.processing.handling", "shared.processing.decoding")


class _NoSeam:
    """In the place of `span`: no span is opened, and nothing is asked."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> Span:
        return INVALID_SPAN

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        pass


@contextmanager
def _without_seams() -> Iterator[None]:
    with ExitStack() as stack:
        for module in _SEAMS:
            stack.enter_context(patch(f"{module}.span", _NoSeam))
        stack.enter_context(patch("shared.processing.handling.current_traceparent", lambda: None))
        stack.enter_context(patch("shared.processing.pipeline.link_to", lambda _: None))
        yield


class _Store:
    """Keeps spans as the local store's thread does, at the end of a turn, so that its work is counted."""

    def __init__(self, folder: Path) -> None:
        self._writer = SpanWriter(folder / "spans.sqlite", most=200_000, process="bench")
        self._spans: list[RecordedSpan] = []
        self.take = self._spans.append

    def close(self, seconds: float) -> None:
        """Write."""
        self._writer.write(self._spans)
        self._spans.clear()


@contextmanager
def _traced(store: _Store, ratio: float) -> Iterator[None]:
    TRACING.start(store, ratio=ratio)
    try:
        yield
    finally:
        TRACING.stop()


async def _cpu(composition: Composition, batches: list[Wire], around: Callable[[], Any]) -> float:
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        with around():
            await dispatched(batches, composition)
        return time.process_time() - started
    finally:
        gc.enable()
        composition.get(state_store).table.rows.clear()  # type: ignore[attr-defined]


async def _round(composition: Composition, store: _Store, samples: Iterator[Any]) -> tuple[float, ...]:
    """All sides see batches of their own of one stream, turn by turn, and each goes first as often as the others."""
    sides: list[Callable[[], Any]] = [
        _without_seams,
        nullcontext,
        lambda: _traced(store, 0.1),
        lambda: _traced(store, 1.0),
    ]
    spent = [0.0] * len(sides)
    for turn in range(BATCHES_A_ROUND):
        for number in range(len(sides)):
            side = (turn + number) % len(sides)
            batches = [wire(list(islice(samples, BATCH)))]
            spent[side] += await _cpu(composition, batches, sides[side])
    return tuple(one / spent[0] for one in spent[1:])


def _rounds(rounds: int) -> Iterator[tuple[float, ...]]:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner() as runner,
    ):
        configure_json(nowhere)
        composition = in_memory()
        samples, store = orders(), _Store(Path(folder))
        runner.run(_round(composition, store, samples))  # code warms up
        for _ in range(rounds):
            yield runner.run(_round(composition, store, samples))


def _figure(name: str, what: str, goal: float) -> Figure:
    claim = f"CPU of a batch of {BATCH} through the dispatch path {what} / the same without any seam of tracing"
    return Figure(name, claim, goal, "lower")


BENCHMARKS = [
    Joint(
        "tracing",
        (
            _figure("tracing-off", "with tracing off", 1.01),
            _figure("tracing-10", "with 10% of the traces sampled, into the local store", 1.05),
            _figure("tracing-100", "with every trace sampled, into the local store", 1.2),
        ),
        _rounds,
    )
]
