"""Command line of `dev.py check --mutation`: mutmut on a copy of the project, one target after the other.

mutmut (https://mutmut.readthedocs.io) writes all mutants of a function beside it, runs the tests that come to the
function once for each, and keeps the exit codes. It needs fork, so not Windows.
"""

# ruff: noqa: S603 - it runs only commands that are written here

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from local.mutation.report import Mutant, Report, read_equivalents, table
from local.mutation.targets import TARGETS, Target
from local.setup import Environment, SetupError, say

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = ".sluice/mutation"
_COPIED = (
    "shared",
    "integrations",
    "functions",
    "ops",
    "infra",
    "function_app.py",
    "host.json",
    "tests",
    "pyproject.toml",
)
_SETTINGS = """\
[mutmut]
source_paths=shared
timeout_multiplier=5
timeout_constant=20
"""
_PROFILE = """

from hypothesis import Phase

settings.register_profile("mutants", settings(), derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutants")
"""
"""Appended to the tests' conftest: a mutant is tried with the same examples each time, and no example is shrunk."""
_READ = """\
import json, sys
from mutmut.__main__ import SourceFileMutationData, get_diff_for_mutant, walk_mutatable_files
from mutmut.stats import status_by_exit_code
found = []
for path in walk_mutatable_files():
    data = SourceFileMutationData(path=path)
    data.load()
    for name, code in data.exit_code_by_key.items():
        verdict = status_by_exit_code[code]
        diff = get_diff_for_mutant(name, path=path) if code != 1 else ""
        found.append([name, verdict, diff])
json.dump(found, sys.stdout)
"""
"""Run by mutmut's own Python."""


def main(arguments: Sequence[str]) -> int:
    """0 if few enough mutants survived, 1 if not, 2 if it could not be tried."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="dev.py check --mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"only these: {', '.join(names)}")
    parser.add_argument("--survivors", action="store_true", help="show what each survivor changed")
    parser.add_argument("--children", type=int, default=1, metavar="N", help="mutants at a time (default: 1)")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.targets) - set(names)):
        parser.error(f"no such target: {', '.join(unknown)}")
    if os.name != "posix":
        parser.error("mutmut needs fork, which Windows doesn't have")
    equivalents = read_equivalents((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))
    reports = []
    try:
        for target in TARGETS:
            if not given.targets or target.name in given.targets:
                report = Report.of(target.name, _mutate(target, given.children), equivalents)
                reports.append(report)
                if given.survivors:
                    for one in report.survivors:
                        say(f"\n{one.function}  {one.verdict}  ({one.name})\n- {one.before}\n+ {one.after}")
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    say(f"\n{table(reports)}")
    return 0 if all(report.passes for report in reports) else 1


def _mutate(target: Target, children: int) -> list[Mutant]:
    """Run a target's tests on every mutant of it; raises SetupError if they fail on the code as it is."""
    environment = Environment(_PROJECT, f"{_FOLDER}/venv")
    environment.ensure(["local/mutation/requirements.txt"])
    folder = _PROJECT / _FOLDER / target.name
    shutil.rmtree(folder, ignore_errors=True)  # mutmut would believe what older tests answered
    folder.mkdir(parents=True)
    for name in _COPIED:
        if (_PROJECT / name).is_dir():
            shutil.copytree(_PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(_PROJECT / name, folder / name)
    with (folder / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(_PROFILE)
    lists = {
        "only_mutate": target.files,
        "do_not_mutate": target.without,
        "also_copy": _COPIED,
        "pytest_add_cli_args_test_selection": target.tests,
    }
    lines = [
        f"{name}={''.join(f'{chr(10)}    {each}' for each in values)}\n" for name, values in lists.items() if values
    ]
    (folder / "setup.cfg").write_text(_SETTINGS + "".join(lines), encoding="utf-8")

    say(f"── {target.name} " + "─" * (60 - len(target.name)))
    # The packages of the app and its tests are those of the interpreter that runs this.
    packages = os.pathsep.join([str(_PROJECT / "local-azure" / "src"), sysconfig.get_path("purelib")])
    variables = {**os.environ, "PYTHONPATH": packages}
    log = folder / "mutmut.log"
    command = [str(environment.python), "-m", "mutmut", "run", "--max-children", str(children)]
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, cwd=folder, env=variables, stdout=file, stderr=subprocess.STDOUT, check=False)
    read = [str(environment.python), "-c", _READ]
    answer = subprocess.run(read, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    mutants = [Mutant.of(*each) for each in json.loads(answer.stdout or "[]")]
    if done.returncode != 0 or not mutants or any(one.verdict == "not checked" for one in mutants):
        raise SetupError(f"the mutants of {target.name} could not be tried, see the end of {log}")
    return mutants


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
