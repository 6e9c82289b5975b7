"""The operator's look at polls: how far each has come in its partner's list; and `--to` has one begin elsewhere."""

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.polling import poll_row
from shared.environment import WrongSettings
from shared.messages import Registry, discover
from shared.partners import Poll, Position
from shared.settings import Settings

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main", "positions", "set_position"]

PROGRAM = "polls"
OK, WRONG, UNREACHABLE = 0, 2, 3
_SECONDS = 30.0
_TRIES = 20


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("name", nargs="?", help="the poll, for example carrier.shipments; all without")
    parser.add_argument("--to", metavar="POSITION", help="begin the next poll here; empty: at the beginning")
    parser.add_argument("--by", default=getpass.getuser(), help="--to: who decides (default: your login name)")
    parser.add_argument("--reason", default="", help="--to: why; needed, and kept in the audit trail")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    try:
        known = parser.parse_args(arguments)
        if known.to is not None and known.name is None:
            raise _Wrong("name the poll that is to begin elsewhere")
        if known.to is not None and not (known.reason.strip() and known.by.strip()):
            raise _Wrong("whoever comes next must know why: say --reason WHY, and --by WHO")
        return asyncio.run(_run(load_settings(known.settings, environment), known))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"the state table doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


async def _run(settings: Settings, known: argparse.Namespace) -> int:
    import integrations  # the users' modules declare the polls

    composition = Composition(settings, discover(integrations))
    try:
        async with asyncio.timeout(_SECONDS):
            names = _names(composition.registry, known.name)
            if known.to is not None:
                about = {"name": names[0], "to": known.to}
                async with audited(composition, PROGRAM, by=known.by, reason=known.reason, **about):
                    await set_position(composition, names[0], known.to)
            rows = await positions(composition, names)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()
    sys.stdout.write((json.dumps({"polls": rows}, indent=2) if known.json else _table(rows)) + "\n")
    return OK


def _names(registry: Registry, name: str | None) -> list[str]:
    known = sorted(poll.job for poll in registry.declared(Poll))
    if name is None:
        return known
    if name not in known:
        raise _Wrong(f"there is no poll {name}; there are: {', '.join(known) or 'none'}")
    return [name]


async def positions(composition: Composition, names: Sequence[str]) -> list[dict[str, Any]]:
    """How far each poll has come."""
    rows = []
    for name in names:
        values = (await poll_row(composition, name).read()).values
        at = values.get("polledAt")
        rows.append({"name": name, **Position.of(values).columns(), "movedAt": at and at.isoformat()})
    return rows


async def set_position(composition: Composition, name: str, since: str) -> None:
    """Have a poll begin elsewhere; one that runs meanwhile gives up its own place and goes on from there.

    Raises
    ------
    _Wrong
        Others write the position all the time.
    """
    row = poll_row(composition, name)
    for _ in range(_TRIES):
        if await row.write({**Position(since).columns(), "polledAt": composition.now()}, await row.read()) is not None:
            return
    raise _Wrong(f"{name} is being read, and its position is written all the time: try again, or pause its partner")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [("poll", "position", "moved"), *((one["name"], _place(one), (one["movedAt"] or "")[:19]) for one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _place(row: Mapping[str, Any]) -> str:
    return str(row["since"] or row["etag"] or row["modified"] or "at the beginning")[:100]


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
