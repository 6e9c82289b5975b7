"""`dev.py fuzz`: runs one kind of fuzz, says how it went, and fails where a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from local.fuzz.messages import MESSAGES
from local.fuzz.report import Kind, Options
from local.fuzz.requests import REQUESTS
from local.stack import StackError

__all__ = ["KINDS", "main"]

KINDS: tuple[Kind, ...] = (REQUESTS, MESSAGES)
"""Every kind of fuzz; another one is a module and a line here."""

_PROJECT = Path(__file__).resolve().parents[2]
_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; return 0 only if every promise held."""
    parser = _parser()
    given = parser.parse_args(arguments)
    kind = next(one for one in KINDS if one.name == given.kind)
    console = Console()
    try:
        options = Options(
            project=_PROJECT,
            seed=given.seed,
            first=given.first,
            count=kind.count if given.count is None else given.count,
        )
        report = asyncio.run(kind.run(options, console))
    except ValueError as error:
        parser.error(str(error))
    except StackError as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    report.show(kind.name, given.seed, console)
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py fuzz", description="Send hostile input, made from a seed, to the app on a stack of its own."
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in KINDS:
        one = kinds.add_parser(kind.name, help=kind.about, description=kind.about)
        one.add_argument("--seed", type=int, default=1, metavar="N", help="what the cases are made from (default: 1)")
        one.add_argument("--count", type=int, metavar="N", help=f"cases (default: {kind.count})")
        one.add_argument("--first", type=int, default=0, metavar="N", help="number of the first case (default: 0)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
