"""The operator's look at scheduled work: when each job ran, how that went, and when it runs next."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import CAPABILITIES, Composition
from functions.composition.jobs import job_records
from shared.environment import WrongSettings
from shared.jobs import Job, JobRecord
from shared.messages import discover
from shared.settings import Settings

from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main", "report"]

PROGRAM = "jobs"
OK, FAILING, WRONG, UNREACHABLE = 0, 1, 2, 3
_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where the last run of a job wasn't a success."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    try:
        known = parser.parse_args(arguments)
        return asyncio.run(_run(load_settings(known.settings, environment), as_json=known.json))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"the state table doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


async def _run(settings: Settings, *, as_json: bool) -> int:
    import integrations  # the users' modules have jobs too

    composition = Composition(settings, discover(integrations))
    try:
        jobs = [job for make in CAPABILITIES for job in make(composition).jobs]
        async with asyncio.timeout(_SECONDS):
            records = {record.name: record for record in await composition.get(job_records).every()}
        now = composition.now()
    finally:
        with contextlib.suppress(Exception):
            await composition.close()
    text, code = report(jobs, records, now, as_json=as_json)
    sys.stdout.write(text + "\n")
    return code


def report(jobs: Sequence[Job], records: Mapping[str, JobRecord], now: datetime, *, as_json: bool) -> tuple[str, int]:
    """What is printed of the jobs, and the exit code."""
    rows = [_row(job, records.get(job.name), now) for job in jobs]
    failing = any(row["outcome"] in ("failed", "timed-out", "died") for row in rows)
    return json.dumps({"jobs": rows}, indent=2) if as_json else _table(rows), FAILING if failing else OK


def _row(job: Job, record: JobRecord | None, now: datetime) -> dict[str, Any]:
    row = {"name": job.name, "app": str(job.app), "schedule": job.schedule.text}
    if record is None:
        return {**row, "outcome": None, "startedAt": None, "seconds": None, "reason": None, "dueAt": None}
    outcome = "running" if record.leased_at(now) else "died" if record.holder else record.outcome
    return {
        **row,
        "outcome": outcome,
        "startedAt": record.started_at and record.started_at.isoformat(),
        "seconds": record.seconds,
        "reason": record.reason or None,
        "dueAt": record.due.isoformat(),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [("job", "app", "schedule", "last run", "took", "outcome", "next run")]
    for row in rows:
        took = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        outcome = " ".join(part for part in (row["outcome"] or "not yet run", row["reason"]) if part)
        moments = [(row[name] or "")[:19].replace("T", " ") for name in ("startedAt", "dueAt")]
        lines.append((row["name"], row["app"], row["schedule"], moments[0], took, outcome, moments[1]))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
