"""Command line of `dev.py rehearse`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .conditions import BadCondition
from .losing import changes_that_delete
from .playing import play
from .report import as_json, as_text
from .rules import OWN_RULES, BadRule, read_rules
from .state import BadState, State, read_state

__all__ = ["STAGES", "main"]

STAGES = ("dev", "test", "staging", "prod")
_VARIABLES = ("AZURE_ENV_NAME", "AZURE_LOCATION", "SLUICE_AUTH_ISSUER", "SLUICE_AUTH_AUDIENCE")
_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """0 if Azure would take everything, 1 if it would refuse something, 2 if nothing could be played."""
    parser = argparse.ArgumentParser(
        prog="dev.py rehearse",
        description="Play azd up and a delivery against a stand-in of Azure that refuses what Azure refuses.",
    )
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this stage (may be repeated)")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--brief", action="store_true", help="show only what goes wrong")
    parser.add_argument("--rules", action="append", default=[], type=Path, metavar="FILE", help="more rules (TOML)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="the subscription that is met (TOML)")
    parser.add_argument(
        "--what-if", type=Path, metavar="FILE", help="what `az deployment sub what-if --no-pretty-print` printed"
    )
    parser.add_argument("--project", type=Path, default=_PROJECT, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    environment = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    try:
        rules = read_rules([OWN_RULES, *given.rules])
        state = read_state(given.state) if given.state else State()
        lost = list(changes_that_delete(given.what_if, rules)) if given.what_if else []
        stages = {
            stage: [*lost, *play(given.project, stage, rules, state, environment)]
            for stage in dict.fromkeys(given.stage or STAGES)
        }
    except (BadRule, BadState, BadCondition) as error:
        print(f"dev.py: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if given.json:
        print(as_json(stages), end="")  # noqa: T201
    else:
        print("\n\n".join(as_text(stage, rows, brief=given.brief) for stage, rows in stages.items()))  # noqa: T201
    return 1 if any(row.fails for rows in stages.values() for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
