"""Shows findings to people, and to pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from local.doctor.rules import Finding, Rule

__all__ = ["as_json", "as_text"]


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects with rule, severity, file, line, message, consequence and remedy."""
    return json.dumps([asdict(one) for one in findings], indent=1, ensure_ascii=False) + "\n"


def as_text(rules: Sequence[Rule], findings: Sequence[Finding], *, what: str, brief: bool = False) -> str:
    """A line for each rule (`brief`: for each that doesn't hold), what was found below it, and a count at the end."""
    broken = {finding.rule for finding in findings}
    shown = [one for one in rules if one.id in broken or not brief]
    count = f"{what}: {len(rules) - len(broken)} rules hold, {len(broken)} don't, {len(findings)} findings"
    return "\n".join([*_lines(shown, findings), *([""] if shown else []), count])


def _lines(rules: Sequence[Rule], findings: Sequence[Finding]) -> Iterator[str]:
    width = max((len(one.id) for one in rules), default=0)
    for one in rules:
        found = [finding for finding in findings if finding.rule == one.id]
        yield f"{'✗' if found else '✓'} {one.id:<{width}}  {one.checks}"
        for finding in found:
            yield f"    {finding.file}{f':{finding.line}' if finding.line else ''}: {finding.message}"
        if found:
            yield f"    what goes wrong: {one.consequence}"
            yield f"    what to do:      {one.remedy}"
