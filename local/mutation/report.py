"""What the mutants of a target came to."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["BOUND", "Equivalent", "Mutant", "Report", "read_equivalents", "table"]

BOUND = 0.15
"""Of a target's mutants, fewer than this share may survive."""
_KILLED = ("killed", "timeout", "segfault")


class Mutant(NamedTuple):
    """One change of the code.

    Attributes
    ----------
    name:
        As mutmut calls it, with a number that changes with the code.
    verdict:
        In mutmut's words: killed, survived, timeout, "no tests" and so on.
    before, after:
        The lines that differ, without their indentation; empty if it was killed.
    """

    name: str
    verdict: str
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, name: str, verdict: str, diff: str) -> Mutant:
        """From a unified diff."""
        lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
        before, after = ("\n".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
        return cls(name, verdict, before, after)

    @property
    def function(self) -> str:
        """Where it is: the module and the function, as Python names them."""
        module, _, name = self.name.partition("__mutmut_")[0].rpartition(".")
        return f"{module}.{name.removeprefix('xǁ').replace('ǁ', '.') if 'ǁ' in name else name.removeprefix('x_')}"


class Equivalent(NamedTuple):
    """A mutant that does what the code does, and why no test can tell them apart."""

    function: str
    before: str
    after: str
    reason: str

    def is_of(self, mutant: Mutant) -> bool:
        """Whether it is this one, wherever it is counted."""
        return (self.function, self.before, self.after) == (mutant.function, mutant.before, mutant.after)


class Report(NamedTuple):
    """A target's figures; what is equivalent counts neither as a mutant nor as a survivor."""

    target: str
    mutants: int
    timeouts: int
    survivors: tuple[Mutant, ...]
    equivalent: int

    @classmethod
    def of(cls, target: str, mutants: Sequence[Mutant], equivalents: Iterable[Equivalent]) -> Report:
        """Count; a mutant that no test came to has survived."""
        known = tuple(equivalents)
        alive = [mutant for mutant in mutants if mutant.verdict not in _KILLED]
        survivors = tuple(mutant for mutant in alive if not any(each.is_of(mutant) for each in known))
        equivalent = len(alive) - len(survivors)
        timeouts = sum(mutant.verdict == "timeout" for mutant in mutants)
        return cls(target, len(mutants) - equivalent, timeouts, survivors, equivalent)

    @property
    def share(self) -> float:
        """The share of survivors, from 0 to 1."""
        return len(self.survivors) / self.mutants if self.mutants else 0.0

    @property
    def passes(self) -> bool:
        """Whether few enough survived; a target without mutants was not tried."""
        return self.mutants > 0 and self.share < BOUND


def read_equivalents(text: str) -> list[Equivalent]:
    """Read `equivalent.toml`; raises TypeError for an entry without a reason, or with another name."""
    return [Equivalent(**entry) for entry in tomllib.loads(text).get("equivalent", [])]


def table(reports: Iterable[Report]) -> str:
    """The figures, a line each."""
    lines = ["target       mutants  killed  (time-outs)  survived  percent  equivalent"]
    for one in reports:
        survived = len(one.survivors)
        figures = f"{one.mutants:>8}{one.mutants - survived:>8}{one.timeouts:>13}{survived:>10}{one.share:>9.1%}"
        end = "" if one.passes else f"  not below {BOUND:.0%}"
        lines.append(f"{one.target:<12}{figures}{one.equivalent:>12}{end}")
    return "\n".join(lines)
