"""Make a view anew from its events beside the live one, serve the new version, go back to the one before, or drop it.

`views` lists the versions, `views rebuild NAME` makes the next one and flips to it when it is whole, `views rollback
NAME` serves the one before again, `views drop NAME` gives up the one beside. Killed at any moment, it is taken up by
the app's job or by the same command.
"""

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
import time
from collections.abc import Mapping, Sequence

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.read_models import rebuilder, view_versions
from shared.encryption import KeysUnavailable
from shared.environment import WrongSettings
from shared.lake.bronze import BronzeError, BronzeUnavailable
from shared.messages import discover
from shared.settings import Settings
from shared.streams import LogUnavailable
from shared.views import CannotRebuild, Stage, Step, VersionChanged, ViewVersion

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main", "table"]

PROGRAM = "views"
OK, DIFFERS, WRONG, UNREACHABLE = 0, 1, 2, 3
_OUTAGES = (AzureError, BronzeUnavailable, KeysUnavailable, LogUnavailable, OSError, TimeoutError)
_LOOK = 1.0
"""Seconds between two looks at how far it is."""


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where somebody has to decide about differences."""
    try:
        known = _parse(arguments)
        return asyncio.run(_run(load_settings(known.settings, environment), known))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, CannotRebuild, VersionChanged, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except _OUTAGES as error:
        return _say(_outage(error), UNREACHABLE)
    except BronzeError as error:  # a file isn't what was written
        return _say(str(error), WRONG)
    except BaseExceptionGroup as several:  # of partitions that are read side by side
        first = several
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, BronzeError) and not isinstance(first, BronzeUnavailable):
            return _say(str(first), WRONG)
        if not isinstance(first, _OUTAGES):
            raise
        return _say(_outage(first), UNREACHABLE)


def _outage(error: BaseException) -> str:
    return f"it can't go on now ({cause_of(error)}); what was done is kept: give the command again"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        PROGRAM, description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("list", "rebuild", "rollback", "drop"), default="list")
    parser.add_argument("name", nargs="?", help="of the view")
    parser.add_argument("--to", type=int, metavar="VERSION", help="rebuild: the number of the new version")
    parser.add_argument(
        "--accept-differences",
        action="store_true",
        help="rebuild: serve the new version even where it lacks rows, or events are gone",
    )
    parser.add_argument("--no-wait", action="store_true", help="rebuild, drop: have the app's job do it")
    parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: your login name)")
    parser.add_argument("--reason", default="", help="why; needed but for list, and kept in the audit trail")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    known = parser.parse_args(arguments)
    if known.what != "list":
        if known.name is None:
            raise _Wrong(f"name the view to {known.what}")
        if not (known.reason.strip() and known.by.strip()):
            raise _Wrong("whoever comes next must know why: say --reason WHY, and --by WHO")
    return known


async def _run(settings: Settings, known: argparse.Namespace) -> int:
    import integrations  # the users' modules declare the views

    composition = Composition(settings, discover(integrations))
    try:
        if known.what == "list":
            return await _list(composition, known)
        about = {"name": known.name, "what": known.what, "to": known.to, "accept": known.accept_differences}
        async with audited(composition, PROGRAM, by=known.by, reason=known.reason, **about) as result:
            result["exitCode"] = code = await _do(composition, known)
        return code
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _list(composition: Composition, known: argparse.Namespace) -> int:
    found = await composition.get(view_versions).every()
    names = sorted({*composition.registry.views, *found})
    if known.name is not None and known.name not in names:
        raise _Wrong(f"there is no view {known.name}: there are {', '.join(names)}")
    rows = [found.get(name) or ViewVersion(view=name) for name in names if known.name in (None, name)]
    _print(json.dumps({"views": [one.to_json() for one in rows]}, indent=2) if known.json else table(rows))
    return OK


async def _do(composition: Composition, known: argparse.Namespace) -> int:
    made = composition.get(rebuilder)
    if known.what == "rollback":
        found = await made.roll_back(known.name, time_left=_seconds(600))
        return _tell(known, found, OK)
    if known.what == "drop":
        found = await made.drop(known.name)
    else:
        found = await made.ask(known.name, to=known.to, accept=known.accept_differences)
    if known.no_wait:
        return _tell(known, found, OK)
    watching = asyncio.create_task(_watch(composition, known))
    try:
        while (step := await made.run(known.name, _seconds(60))) in (Step.MORE, Step.BUSY):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK if step is Step.BUSY else 0)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    found = await composition.get(view_versions).now(known.name)
    return _tell(known, found, DIFFERS if step is Step.DIFFERS else OK)


def _seconds(many: float) -> "_Left":
    return _Left(time.monotonic() + many)


class _Left:
    """The seconds until a moment."""

    def __init__(self, end: float) -> None:
        self._end = end

    def __call__(self) -> float:
        return self._end - time.monotonic()


async def _watch(composition: Composition, known: argparse.Namespace) -> None:
    """Say how far it is, on standard error."""
    before = None
    while not known.json:
        now = await composition.get(view_versions).now(known.name)
        if (now.stage, now.events) != before:
            before = (now.stage, now.events)
            sys.stderr.write(f"{PROGRAM}: {known.name}@{now.other or now.live} {now.stage}: {now.events} events\n")
        await asyncio.sleep(_LOOK)


def _tell(known: argparse.Namespace, found: ViewVersion, code: int) -> int:
    if known.json:
        _print(json.dumps(found.to_json(), indent=2))
        return code
    _print(table([found]))
    if found.stage is Stage.DIFFERS:
        for partition, first in sorted(found.missing.items()):
            _print(f"partition {partition}: events before {first} are gone: it is whole from that number on")
        report = found.report
        if report.get("missing") or report.get("older"):
            lacking = f"{report['missing']} rows missing, {report['older']} older"
            _print(f"{lacking}, for example {', '.join(report['examples'])}")
        _print(f"Serve it all the same: {PROGRAM} rebuild {found.view} --accept-differences; or: drop {found.view}")
    elif found.stage is Stage.KEPT:
        _print(f"Version {found.other} is kept for a day: {PROGRAM} rollback {found.view} serves it again")
    return code


def table(rows: Sequence[ViewVersion]) -> str:
    """What is printed of views."""
    lines = [f"{'VIEW':<24}{'LIVE':>6}{'OTHER':>7}  {'STAGE':<11}{'EVENTS':>10}{'SKIPPED':>9}  ROWS"]
    for one in rows:
        counts = one.report.get("rows")
        compared = "" if counts is None else f"{counts[0]} and {counts[1]}"
        other = "" if one.other is None else str(one.other)
        events = f"{one.events:>10}{one.skipped:>9}" if one.events else " " * 19
        lines.append(f"{one.view:<24}{one.live:>6}{other:>7}  {one.stage:<11}{events}  {compared}".rstrip())
    return "\n".join(lines)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
