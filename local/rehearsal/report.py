"""Shows a rehearsal to people, and to pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from .rows import Row

__all__ = ["as_json", "as_text"]

_HEAD = ("step", "order", "wave", "resource", "name", "what happens")


def as_json(stages: Mapping[str, Sequence[Row]]) -> str:
    """An object: stage → `fails` and its `rows`, each as a `Row` with its `findings`."""
    found = {
        stage: {"fails": any(row.fails for row in rows), "rows": [asdict(row) for row in rows]}
        for stage, rows in stages.items()
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def as_text(stage: str, rows: Sequence[Row], *, brief: bool = False) -> str:
    """A table of everything that is done (`brief`: of what goes wrong), and a count at the end."""
    shown = [row for row in rows if row.findings or not brief]
    waves = max((row.wave for row in rows), default=0)
    resources = sum(row.wave > 0 and row.step == "provision" for row in rows)
    problems = [one for row in rows for one in row.findings]
    ends, known = sum(one.ends for one in problems), sum(one.severity == "known" for one in problems)
    risks = len(problems) - ends - known
    count = f"{stage}: {resources} resources in {waves} waves, {ends} refused, {risks} risks, {known} known"
    return "\n".join([*(_table(shown) if shown else ()), count])


def _table(rows: Sequence[Row]) -> Iterator[str]:
    cells = [
        (
            row.step,
            str(row.order or ""),
            str(row.wave or ""),
            row.kind.removeprefix("Microsoft."),
            row.what,
            row.happens,
        )
        for row in rows
    ]
    widths = [max(len(cell) for cell in column) for column in zip(_HEAD, *cells, strict=True)]
    yield _line(_HEAD, widths)
    yield _line(tuple("─" * width for width in widths), widths)
    for row, one in zip(rows, cells, strict=True):
        yield _line(one, widths)
        for finding in row.findings:
            mark = "✗" if finding.ends else "!"
            yield f"    {mark} {finding.rule}{f' ({row.place})' if row.place else ''}: {finding.text}"
            yield f"      do: {finding.remedy}"
            if finding.source:
                yield f"      from: {finding.source} {finding.date}".rstrip()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
