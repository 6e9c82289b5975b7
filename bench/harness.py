"""How a benchmark is declared, run and reported.

A module of this folder declares `BENCHMARKS`, a list. A ratio of two sides measured in turn holds on a noisy machine,
where an absolute figure doesn't; the median of its rounds is what counts, minimum and maximum show the noise.
"""

import importlib
import pkgutil
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

__all__ = ["Benchmark", "Figure", "Joint", "Result", "discover", "run", "table"]

ROUNDS = 5
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A claim about a ratio.

    Parameters
    ----------
    name:
        What `dev.py bench NAME` takes.
    claim:
        One sentence: what is divided by what.
    rounds:
        Given how many rounds to do, yields one ratio a round; sets up before the first and tidies up after the last.
    """

    name: str
    claim: str
    goal: float
    better: Literal["higher", "lower"]
    rounds: Callable[[int], Iterator[float]]


@dataclass(frozen=True)
class Figure:
    """One of the ratios that a joint benchmark measures in the same run."""

    name: str
    claim: str
    goal: float
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Joint:
    """Several ratios of one run: its rounds yield one value for each figure."""

    name: str
    figures: tuple[Figure, ...]
    rounds: Callable[[int], Iterator[tuple[float, ...]]]

    @property
    def claim(self) -> str:
        """What is measured, in a line."""
        return "; ".join(figure.claim for figure in self.figures)


@dataclass(frozen=True)
class Result:
    """The outcome of one benchmark; `ratio` is the median."""

    name: str
    claim: str
    ratio: float
    goal: float
    better: Literal["higher", "lower"]
    rounds: int
    min: float
    max: float
    met: bool

    def as_json(self) -> dict[str, object]:
        """The result as `--json` writes it."""
        return asdict(self)


def discover() -> dict[str, Benchmark | Joint]:
    """All benchmarks of this folder, by name."""
    package = importlib.import_module("bench")
    found: dict[str, Benchmark | Joint] = {}
    for module in pkgutil.iter_modules(package.__path__, "bench."):
        for benchmark in getattr(importlib.import_module(module.name), "BENCHMARKS", []):
            if benchmark.name in found:
                raise ValueError(f"two benchmarks are called {benchmark.name}")
            found[benchmark.name] = benchmark
    return dict(sorted(found.items()))


def run(benchmark: Benchmark | Joint, rounds: int = ROUNDS) -> list[Result]:
    """Measure, showing every round as it comes."""
    if isinstance(benchmark, Benchmark):
        figures: tuple[Figure, ...] = (Figure(benchmark.name, benchmark.claim, benchmark.goal, benchmark.better),)
        measured: Iterator[tuple[float, ...]] = ((ratio,) for ratio in benchmark.rounds(rounds))
    else:
        figures, measured = benchmark.figures, benchmark.rounds(rounds)
    print(f"{benchmark.name}: {benchmark.claim}", file=sys.stderr)
    each: list[tuple[float, ...]] = []
    for ratios in measured:
        each.append(ratios)
        shown = ", ".join(f"{ratio:.3g}" for ratio in ratios)
        print(f"  round {len(each)}/{rounds}: {shown}", file=sys.stderr, flush=True)
    return [_result(figure, column) for figure, column in zip(figures, zip(*each, strict=True), strict=True)]


def _result(figure: Figure, ratios: Sequence[float]) -> Result:
    median = statistics.median(ratios)
    return Result(
        name=figure.name,
        claim=figure.claim,
        ratio=round(median, 4),
        goal=figure.goal,
        better=figure.better,
        rounds=len(ratios),
        min=round(min(ratios), 4),
        max=round(max(ratios), 4),
        met=median >= figure.goal if figure.better == "higher" else median <= figure.goal,
    )


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| benchmark | what | ratio (median) | min – max | goal | met |", "|---|---|---|---|---|---|"]
    for result in results:
        sign = "≥" if result.better == "higher" else "≤"
        met = "yes" if result.met else "**no**"
        lines.append(
            f"| {result.name} | {result.claim} | {result.ratio:.3g} | {result.min:.3g} – {result.max:.3g} "
            f"| {sign} {result.goal:g} | {met} |"
        )
    return "\n".join(lines)


def keep(results: list[Result]) -> None:
    """Put the run on top of RESULTS.md, with date and versions."""
    head, _, older = (
        RESULTS.read_text(encoding="utf-8").partition("\n## ") if RESULTS.exists() else ("# Results\n", "", "")
    )
    packages = ("azure-functions", "azure-servicebus", "azure-eventhub", "azure-data-tables", "fastapi", "pydantic")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    day = datetime.now(UTC).date().isoformat()
    entry = (
        f"\n## {day}\n\nPython {platform.python_version()} on {platform.system()} {platform.machine()}; {versions}.\n\n"
        f"{table(results)}\n"
    )
    RESULTS.write_text(head.rstrip() + "\n" + entry + (f"\n## {older}" if older else ""), encoding="utf-8")
