"""The lake at the end of a demonstration: brought up to the last event by the operators' command, and counted."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.demo.target import Target

__all__ = ["Lake", "LakeFailed", "caught_up"]

_PROJECT = Path(__file__).resolve().parents[2]
_SECONDS = 180.0
_TRIES = 3
_WITH_PROBLEMS, _UNREACHABLE = 1, 3
_EVENTS = ("silver.order_accepted", "silver.order_credit_accepted")
"""The tables that have a row for each order and credit note that was accepted."""


class LakeFailed(Exception):
    """The lake can't be brought up to date; the message says why."""


@dataclass(frozen=True)
class Lake:
    """Rows by table of silver and gold, and what is wrong with the lake."""

    rows: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def total(self) -> int:
        """Of all tables."""
        return sum(self.rows.values())

    @property
    def accepted(self) -> int:
        """Orders and credit notes."""
        return sum(self.rows.get(name, 0) for name in _EVENTS)


async def caught_up(target: Target) -> Lake | None:
    """Bring silver up to the hub's end and gold up to silver; None where the stack has no lake.

    Raises
    ------
    LakeFailed
    """
    if target.settings is None:
        return None
    code, output, errors = await _run(target.settings)
    for _ in range(_TRIES - 1):
        if code != _UNREACHABLE:
            break
        code, output, errors = await _run(target.settings)  # a store that is started again answers in a moment
    if code not in (0, _WITH_PROBLEMS) or not output.strip():
        lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise LakeFailed(f"the lake can't be caught up: {lines[-1][:300]}")
    status = json.loads(output)
    rows = {f"{one['layer']}.{one['table']}": one["rows"] or 0 for one in status["tables"]}
    kept = {name: count for name, count in rows.items() if name.partition(".")[0] in ("silver", "gold")}
    return Lake(kept, tuple(status["problems"]))


async def _run(settings: Path) -> tuple[int | None, bytes, bytes]:
    command = [sys.executable, "-m", "ops", "lake", "--settings", str(settings), "catch-up", "--json", "-"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        raise LakeFailed(f"the lake isn't caught up after {_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output, errors
