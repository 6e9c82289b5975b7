"""The rows of a rehearsal's table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from .judging import Refusal

__all__ = ["Finding", "Row"]


@dataclass(frozen=True)
class Finding:
    """Why something fails: a rule's sentence, where it is known from, and what to do."""

    rule: str
    severity: str
    text: str
    remedy: str
    source: str = ""
    date: str = ""

    @classmethod
    def by(cls, refusal: Refusal, known: Collection[str] = ()) -> Finding:
        """What a rule says; of one that is `known` not to hold it ends nothing."""
        rule = refusal.rule
        text = f"{rule.code}: {refusal.text}" if rule.code else refusal.text
        severity = "known" if rule.id in known else rule.severity
        return cls(rule.id, severity, text, rule.remedy, rule.source, rule.date.isoformat())

    @property
    def ends(self) -> bool:
        """Whether it ends the deployment, or leaves one that doesn't work."""
        return self.severity in ("refused", "broken")


@dataclass(frozen=True)
class Row:
    """One thing that is done: in which step, as which in order, in which wave, and what happens."""

    step: str
    what: str
    happens: str
    order: int = 0
    wave: int = 0
    kind: str = ""
    place: str = ""
    findings: tuple[Finding, ...] = field(default=())

    @property
    def fails(self) -> bool:
        """Whether it ends the deployment, or leaves one that doesn't work."""
        return any(one.ends for one in self.findings)
