"""How a benchmark is declared, run and reported.

A module of this folder declares `BENCHMARKS`, a list. A ratio of two sides measured in turn holds on a noisy machine,
where an absolute figure doesn't; the median of its rounds is what counts, minimum and maximum show the noise.
"""

import importlib
import pkgutil
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

__all__ = ["Benchmark", "Result", "discover", "run", "table"]

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
class Result:
    """The outcome of one benchmark; `ratio` is the median."""

    name: str
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


def discover() -> dict[str, Benchmark]:
    """All benchmarks of this folder, by name."""
    package = importlib.import_module("bench")
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(package.__path__, "bench."):
        for benchmark in getattr(importlib.import_module(module.name), "BENCHMARKS", []):
            if benchmark.name in found:
                raise ValueError(f"two benchmarks are called {benchmark.name}")
            found[benchmark.name] = benchmark
    return dict(sorted(found.items()))


def run(benchmark: Benchmark, rounds: int = ROUNDS) -> Result:
    """Measure, showing every round as it comes."""
    ratios: list[float] = []
    print(f"{benchmark.name}: {benchmark.claim}", file=sys.stderr)
    for ratio in benchmark.rounds(rounds):
        ratios.append(ratio)
        print(f"  round {len(ratios)}/{rounds}: {ratio:.3g}", file=sys.stderr, flush=True)
    median = statistics.median(ratios)
    met = median >= benchmark.goal if benchmark.better == "higher" else median <= benchmark.goal
    return Result(
        benchmark.name,
        round(median, 4),
        benchmark.goal,
        benchmark.better,
        len(ratios),
        round(min(ratios), 4),
        round(max(ratios), 4),
        met,
    )


def table(results: list[Result], benchmarks: dict[str, Benchmark]) -> str:
    """The results as a Markdown table."""
    lines = ["| benchmark | what | ratio (median) | min – max | goal | met |", "|---|---|---|---|---|---|"]
    for result in results:
        sign = "≥" if result.better == "higher" else "≤"
        claim = benchmarks[result.name].claim
        met = "yes" if result.met else "**no**"
        lines.append(
            f"| {result.name} | {claim} | {result.ratio:.3g} | {result.min:.3g} – {result.max:.3g} "
            f"| {sign} {result.goal:g} | {met} |"
        )
    return "\n".join(lines)


def keep(results: list[Result], benchmarks: dict[str, Benchmark]) -> None:
    """Put the run on top of RESULTS.md, with date and versions."""
    head, _, older = (
        RESULTS.read_text(encoding="utf-8").partition("\n## ") if RESULTS.exists() else ("# Results\n", "", "")
    )
    packages = ("azure-functions", "azure-servicebus", "azure-eventhub", "azure-data-tables", "fastapi", "pydantic")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    day = datetime.now(UTC).date().isoformat()
    entry = (
        f"\n## {day}\n\nPython {platform.python_version()} on {platform.system()} {platform.machine()}; {versions}.\n\n"
        f"{table(results, benchmarks)}\n"
    )
    RESULTS.write_text(head.rstrip() + "\n" + entry + (f"\n## {older}" if older else ""), encoding="utf-8")
