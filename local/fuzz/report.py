"""What every kind of fuzz shares: how much is asked for, what came out, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Case", "Kind", "Options", "Report"]

_MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run: the cases `first` to `first + count - 1` of a seed, each the same whatever ran before it."""

    project: Path
    seed: int
    count: int
    first: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 10_000_000:
            raise ValueError(f"--count must be from 1 to 10000000, not {self.count}.")
        if self.first < 0:
            raise ValueError(f"--first must be 0 or more, not {self.first}.")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case that broke a promise: its number, which promise, and what was sent, in short."""

    number: int
    broken: str
    sent: str


@dataclass(kw_only=True)
class Report:
    """Figures as rows of name and value, and the cases that failed."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    failed: list[Case] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What is wrong with the run as a whole, such as memory that grew."""

    @property
    def passed(self) -> bool:
        """Whether every promise held."""
        return not self.failed and not self.complaints

    def show(self, kind: str, seed: int, console: Console) -> None:
        """Print the table, then each failure with how to repeat it."""
        table = Table(title=f"Fuzz: {kind}", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column(justify="right", style="bold")
        for row in (*self.rows, ("failures", f"{len(self.failed) + len(self.complaints):,}")):
            table.add_row(*row)
        console.print(table)
        for case in self.failed[:_MOST_SHOWN]:
            repeat = f"python3 dev.py fuzz {kind} --seed {seed} --first {case.number} --count 1"
            console.print(f"{case.broken}\n  {case.sent}\n  repeat: {repeat}", markup=False, highlight=False)
        for complaint in self.complaints:
            console.print(complaint, markup=False, highlight=False)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One subcommand of `dev.py fuzz`."""

    name: str
    about: str
    count: int
    """Cases unless the user says otherwise."""
    run: Callable[[Options, Console], Coroutine[None, None, Report]]
