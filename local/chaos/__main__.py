"""`dev.py chaos`: does the drill, says how it went, and fails where a promise did."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from math import isinf
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.chaos.carrier import Parcels
from local.chaos.drill import DrillOptions, Outcome, run_drill
from local.chaos.faults import Kind
from local.chaos.orders import MESSAGES_PER_ORDER
from local.stack import StackError

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]
_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run the drill; return 0 only if nothing was lost, done twice, skipped or swapped."""
    parser = _parser()
    given = parser.parse_args(arguments)
    console = Console()
    if given.json is not None and (given.json.is_dir() or not given.json.absolute().parent.is_dir()):
        parser.error(f"--json {given.json} is not a file that can be written.")
    (_PROJECT / ".sluice").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=_PROJECT / ".sluice"))
    try:
        options = DrillOptions(
            _PROJECT,
            folder,
            messages=given.messages,
            kills=given.kills,
            seed=given.seed,
            each=given.each,
            partners=given.partners,
            away=given.away,
        )
    except ValueError as error:
        folder.rmdir()
        parser.error(str(error))
    passed = False
    try:
        outcome = asyncio.run(run_drill(options, console))
        passed = outcome.passed
        _show(outcome, console)
        if given.json is not None:
            given.json.write_text(_as_json(outcome), encoding="utf-8")
    except StackError as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        if passed:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
        else:
            console.print(f"Stores and logs are kept in {folder}", style="dim", markup=False, highlight=False)
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py chaos",
        description="Send orders through a stack of its own, two functions hosts strong, while its processes are "
        "killed, stopped and frozen; then prove that nothing was lost or done twice.",
    )
    parser.add_argument("--messages", type=int, default=20_000, metavar="N", help="orders to send (default: 20000)")
    parser.add_argument(
        "--kills",
        type=int,
        default=10,
        metavar="N",
        help="functions hosts to kill (default: 10); emulator and storage get three of each kind for each ten",
    )
    parser.add_argument(
        "--each", type=int, default=MESSAGES_PER_ORDER, metavar="N", help="messages for each order (default: 3)"
    )
    parser.add_argument(
        "--partners", action="store_true", help="ship the orders by a carrier that fails three times in ten"
    )
    parser.add_argument(
        "--away", type=float, default=60.0, metavar="S", help="seconds for which that carrier is away (default: 60)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="decides what breaks and when (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser


def _as_json(outcome: Outcome) -> str:
    verdict, struck = outcome.verdict, outcome.struck
    content = {
        "accepted": verdict.accepted,
        "processed": verdict.processed,
        "deadLettered": verdict.dead_lettered,
        "lost": verdict.lost,
        "duplicateEffects": verdict.duplicate_effects,
        "eventGaps": verdict.event_gaps,
        "eventsOutOfOrder": verdict.events_out_of_order,
        "eventsRepeated": verdict.events_repeated,
        "unanswered": outcome.unanswered,
        "stalled": outcome.stalled,
        "kills": {
            "host": struck[Kind.HOST_KILLED],
            "emulator": struck[Kind.EMULATOR_KILLED],
            "storage": struck[Kind.STORAGE_STOPPED] + struck[Kind.STORAGE_FROZEN],
        },
        **({} if outcome.parcels is None else {"partners": _parcels(outcome.parcels)}),
        "elapsedSeconds": round(outcome.seconds, 1),
        "passed": outcome.passed,
    }
    return json.dumps(content, indent=2) + "\n"


def _parcels(parcels: Parcels) -> dict[str, float | None]:
    return {
        "labels": parcels.labels,
        "missingLabels": parcels.missing,
        "duplicateLabels": parcels.duplicates,
        "labelCalls": parcels.calls,
        "callsWhileAway": parcels.away_calls,
        "callsInSuchATime": parcels.usual_calls,
        "backSeconds": None if isinf(parcels.back_seconds) else round(parcels.back_seconds, 1),
        "intervalSeconds": parcels.interval,
        "retriedCommands": parcels.retried,
    }


def _show(outcome: Outcome, console: Console) -> None:
    verdict = outcome.verdict
    table = Table(title="Drill", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    table.add_row(
        "broken", f"{outcome.struck.total()}", ", ".join(f"{n} × {kind}" for kind, n in outcome.struck.items())
    )
    table.add_row("accepted", f"{verdict.accepted:,}", "answered with 202")
    table.add_row("unanswered", f"{outcome.unanswered:,}", "the sender doesn't know, and would ask again")
    table.add_row("processed", f"{verdict.processed:,}", "")
    table.add_row("dead-lettered", f"{verdict.dead_lettered:,}", "")
    table.add_row("lost", f"{verdict.lost:,}", "")
    table.add_row("effects twice", f"{verdict.duplicate_effects:,}", "by the count each order keeps of what it said")
    table.add_row("event gaps", f"{verdict.event_gaps:,}", "")
    table.add_row("out of order", f"{verdict.events_out_of_order:,}", "orders whose events swapped places")
    table.add_row("repeated", f"{verdict.events_repeated:,}", "events in the log twice, under the same id")
    if (parcels := outcome.parcels) is not None:
        table.add_row("labels", f"{parcels.labels:,}", f"by {parcels.calls:,} calls, of which three in ten failed")
        table.add_row("without a label", f"{parcels.missing:,}", "orders")
        table.add_row("labels twice", f"{parcels.duplicates:,}", "")
        table.add_row("calls while away", f"{parcels.away_calls:,}", f"in such a time it gets {parcels.usual_calls:,}")
        back = f"{parcels.back_seconds:.0f} s"
        table.add_row("asked again after", back, f"one interval of the breaker: {parcels.interval:.0f} s")
        table.add_row("tried again", f"{parcels.retried:,}", "commands to ship, for their own failures")
    table.add_row("took", f"{outcome.seconds:.0f} s", "")
    console.print(table)
    if outcome.passed:
        console.print("Nothing lost, nothing done twice.", style="bold green")
    else:
        console.print("Nothing moves any more." if outcome.stalled else "A promise was broken.", style="bold red")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
