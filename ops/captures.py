"""The operator's look at change capture: how far each database was read; and `--reset` has its tables read anew."""

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
from functions.composition.capturing import capture_row
from shared.environment import WrongSettings
from shared.messages import Registry, discover
from shared.postgresql import Postgresql, Progress, lsn_text

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main", "positions", "reset"]

PROGRAM = "captures"
OK, WRONG, UNREACHABLE = 0, 2, 3
_SECONDS = 30.0
_TRIES = 20


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("name", nargs="?", help="the database, for example crm; all without")
    parser.add_argument("--reset", action="store_true", help="forget how far it was read: its tables are read anew")
    parser.add_argument("--by", default=getpass.getuser(), help="--reset: who decides (default: your login name)")
    parser.add_argument("--reason", default="", help="--reset: why; needed, and kept in the audit trail")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    try:
        known = parser.parse_args(arguments)
        if known.reset and known.name is None:
            raise _Wrong("name the database whose tables are to be read anew")
        if known.reset and not (known.reason.strip() and known.by.strip()):
            raise _Wrong("whoever comes next must know why: say --reason WHY, and --by WHO")
        return asyncio.run(_run(load_settings(known.settings, environment), known))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"the state table doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


async def _run(settings: Any, known: argparse.Namespace) -> int:
    import integrations  # the users' modules declare the databases

    composition = Composition(settings, discover(integrations))
    try:
        async with asyncio.timeout(_SECONDS):
            names = _names(composition.registry, known.name)
            if known.reset:
                async with audited(composition, PROGRAM, by=known.by, reason=known.reason, name=names[0]):
                    await reset(composition, names[0])
            rows = await positions(composition, names)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()
    sys.stdout.write((json.dumps({"captures": rows}, indent=2) if known.json else _table(rows)) + "\n")
    return OK


def _names(registry: Registry, name: str | None) -> list[str]:
    known = sorted(source.name for source in registry.declared(Postgresql))
    if name is None:
        return known
    if name not in known:
        raise _Wrong(f"there is no database {name}; there are: {', '.join(known) or 'none'}")
    return [name]


async def positions(composition: Composition, names: Sequence[str]) -> list[dict[str, Any]]:
    """How far each database was read."""
    rows = []
    for name in names:
        progress = Progress.of((await capture_row(composition, name).read()).values)
        rows.append(
            {
                "name": name,
                "position": lsn_text(progress.position.lsn),
                "number": progress.position.number,
                "advanced": lsn_text(progress.upto),
                "tables": {table: {"rows": one.rows, "read": one.done} for table, one in progress.tables.items()},
            }
        )
    return rows


async def reset(composition: Composition, name: str) -> None:
    """Forget how far a database was read: the next run reads its tables anew, and then the stream.

    Raises
    ------
    _Wrong
        The position is written all the time.
    """
    row = capture_row(composition, name)
    for _ in range(_TRIES):
        if await row.write(Progress().columns(), await row.read()) is not None:
            return
    raise _Wrong(f"{name} is being read, and its position is written all the time: try again")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [("database", "position", "advanced", "tables read")]
    for one in rows:
        read = sum(table["read"] for table in one["tables"].values())
        lines.append((one["name"], f"{one['position']} {one['number']}", one["advanced"], str(read)))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
