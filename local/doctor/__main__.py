"""Command line of `dev.py doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local.doctor.examining import chosen, examine
from local.doctor.facts import Facts
from local.doctor.readers import CannotExamine, read_facts
from local.doctor.report import as_json, as_text

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """0 if all is well, 1 with findings, 2 if nothing could be examined."""
    parser = argparse.ArgumentParser(
        prog="dev.py doctor",
        description="Check that code, settings, host.json, emulator configuration and infrastructure say the same.",
    )
    parser.add_argument("--json", metavar="FILE", help="write the findings to FILE as JSON, - for the output")
    parser.add_argument("--only", action="append", default=[], metavar="RULE", help="only this rule (may be repeated)")
    parser.add_argument("--brief", action="store_true", help="show only the rules that don't hold")
    parser.add_argument("--project", type=Path, default=_PROJECT, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        rules = chosen(given.only)
    except ValueError as error:
        parser.error(str(error))
    try:
        facts = read_facts(given.project)
    except CannotExamine as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    findings = examine(facts, rules)
    if given.json == "-":
        print(as_json(findings), end="", flush=True)  # noqa: T201
    else:
        print(as_text(rules, findings, what=_what(facts), brief=given.brief), flush=True)  # noqa: T201
    if given.json not in (None, "-"):
        try:
            Path(given.json).write_text(as_json(findings), encoding="utf-8")
        except OSError as error:
            print(f"dev.py: {given.json} can't be written: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 2
    return 1 if findings else 0


def _what(facts: Facts) -> str:
    stages = ", ".join(one.name for one in facts.deployments)
    return f"{len(facts.triggers)} functions, {len(facts.settings)} settings, deployments: {stages}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
