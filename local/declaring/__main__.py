"""`dev.py declare`: writes what the app declares; with `--check` it only says what is stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local.app import AppNotLoaded, describe, sample_environment
from local.declaring.writing import broken_by, declared_files, stale
from local_azure.broker.config import ConfigError

__all__ = ["main"]

PROJECT = Path(__file__).resolve().parent.parent.parent


def main(arguments: list[str]) -> int:
    """0 if all is written or fresh, 1 if something is stale or breaks clients, 2 if the app contradicts itself."""
    parser = argparse.ArgumentParser(prog="dev.py declare", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a file is stale")
    parser.add_argument("--breaking", action="store_true", help="write a description that breaks clients all the same")
    parser.add_argument("--project", type=Path, default=PROJECT, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    project: Path = given.project
    try:
        files = declared_files(describe(project, sample_environment(project), declared=True), project)
    except (AppNotLoaded, ConfigError) as error:
        return _say(str(error), 2)
    old = stale(project, files)
    broken = broken_by(files, project)
    if broken and not given.breaking:
        return _say(
            f"this breaks clients: {'; '.join(broken)}; run `python3 dev.py declare --breaking` if it has to", 1
        )
    if given.check and old:
        return _say(f"stale: {', '.join(old)}; run `python3 dev.py declare`", 1)
    for one in files:
        if one.path in old:
            path = project / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one.text, encoding="utf-8")
            sys.stdout.write(f"written: {one.path}\n")
    return 0


def _say(reason: str, code: int) -> int:
    sys.stderr.write(f"declare: {reason}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
