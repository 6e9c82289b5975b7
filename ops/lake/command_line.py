"""The operator's lake: what is in it, SQL over it, tables as files, catching up and rebuilding."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.lake import lake_store
from ops.failures import cause_of
from ops.settings_file import WrongSettingsFile, add_settings, load_settings
from shared.environment import WrongSettings
from shared.lake.bronze import BronzeError, BronzeUnavailable
from shared.lake.tables import LakeError, LakeUnavailable, Layer, TableMissing
from shared.messages import discover
from shared.settings import Settings
from shared.streams import LogUnavailable

from .exporting import FORMATS, export
from .keeping import catch_up, rebuild
from .querying import WrongQuery, queried, rows_of
from .rendering import answer_json, answer_table, status_table
from .status import lake_status

__all__ = ["VERBS", "main"]

PROGRAM = "lake"
OK, FAILING, WRONG, UNREACHABLE = 0, 1, 2, 3


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where the lake isn't whole, or a table fails."""
    try:
        known = _parser().parse_args(arguments)
        return asyncio.run(_run(load_settings(known.settings, environment), known))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, WrongQuery, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except TableMissing as error:
        return _say(f"{error}; `lake status` lists those that there are", WRONG)
    except (LakeUnavailable, BronzeUnavailable, LogUnavailable) as error:
        return _say(f"the lake doesn't answer ({error}). Is the stack running?", UNREACHABLE)
    except (LakeError, BronzeError) as error:
        return _say(str(error), FAILING)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"a store doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    add_settings(parser)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    status = verbs.add_parser("status", help="layers and tables: rows, files, freshness, watermarks, gaps, quarantine")
    query = verbs.add_parser("query", help="one SELECT over silver.x, gold.x and quarantine.x, in DuckDB's dialect")
    query.add_argument("sql")
    exported = verbs.add_parser("export", help="a table as a file: Parquet, CSV or NDJSON, by its ending or --format")
    exported.add_argument("table", help="such as gold.daily_sales")
    exported.add_argument("--format", choices=sorted(FORMATS), help="default: what the file's name ends with, or csv")
    exported.add_argument("--out", type=Path, metavar="FILE", help="default: TABLE.FORMAT in this folder")
    caught = verbs.add_parser("catch-up", help="bring silver up to the hub's end, and gold up to silver, at once")
    again = verbs.add_parser("rebuild", help="silver anew from bronze, and gold from silver; or one gold table")
    again.add_argument("table", nargs="?", help="such as gold.daily_sales; all without")
    for verb in (status, query, caught, again):
        verb.add_argument("--json", type=Path, metavar="FILE", help="write the outcome to FILE (-: print it)")
    return parser


async def _run(settings: Settings, known: argparse.Namespace) -> int:
    import integrations  # the users' modules declare the tables

    if settings.lake is None:
        raise _Wrong("the settings name no lake: set Lake, as docs/lake.md tells")
    composition = Composition(settings, discover(integrations))
    try:
        code: int = await VERBS[known.verb](composition, known)
        return code
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _status(composition: Composition, known: argparse.Namespace) -> int:
    found = await lake_status(composition)
    _print(known.json, found.as_json(), status_table(found, composition.now()))
    return OK if found.is_whole else FAILING


async def _query(composition: Composition, known: argparse.Namespace) -> int:
    async with queried(composition.get(lake_store), known.sql) as con:
        names, rows = rows_of(con)
    _print(known.json, answer_json(names, rows), answer_table(names, rows))
    return OK


async def _export(composition: Composition, known: argparse.Namespace) -> int:
    layer, name = _named(known.table)
    ending = "" if known.out is None else known.out.suffix.lstrip(".").lower()
    form = known.format or (ending if ending in FORMATS else "csv")
    file = known.out or Path(f"{known.table}.{form}")
    rows = await export(composition.get(lake_store), layer, name, form, file)
    sys.stdout.write(f"{rows:,} rows of {known.table} are in {file}\n")
    return OK


async def _catch_up(composition: Composition, known: argparse.Namespace) -> int:
    await catch_up(composition, _progress)
    return await _status(composition, known)


async def _rebuild(composition: Composition, known: argparse.Namespace) -> int:
    gold = None
    if known.table is not None:
        layer, gold = _named(known.table)
        if layer is not Layer.GOLD:
            raise _Wrong("silver tables are rebuilt together: say `lake rebuild`, or name a gold table")
        if gold not in {one.name for one in composition.registry.golds}:
            raise _Wrong(f"nobody declares gold.{gold}")
    await rebuild(composition, _progress, gold=gold)
    return await _status(composition, known)


VERBS = {
    "status": _status,
    "query": _query,
    "export": _export,
    "catch-up": _catch_up,
    "rebuild": _rebuild,
}


def _named(text: str) -> tuple[Layer, str]:
    layer, _, name = text.partition(".")
    if layer not in set(Layer) or not name:
        raise _Wrong(f"{text!r} is no table: say one such as gold.daily_sales")
    return Layer(layer), name


def _print(file: Path | None, content: Any, text: str) -> None:
    if file is None:
        sys.stdout.write(text + "\n")
        return
    written = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if str(file) == "-":
        sys.stdout.write(written)
    else:
        file.write_text(written, encoding="utf-8")
        sys.stdout.write(text + "\n")


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
