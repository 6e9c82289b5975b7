"""Both pipelines call tools that exist, with options that they have, and go the same way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

COMMAND = re.compile(r"python3 (?:-m (infra\.(?:delivery|hooks)\.\w+)|(dev\.py) (\w+))([^\n&|]*)")


def pipelines(project: Path) -> list[Path]:
    """Every file of both pipelines."""
    found = [*(project / ".github" / "workflows").glob("*.yml"), *(project / ".azure-pipelines").glob("*.yml")]
    return [*found, project / "azure-pipelines.yml"]


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each call of a tool of ours, and the words after it; continued lines are joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    for module, script, verb, rest in COMMAND.findall(text):
        yield module or f"{script} {verb}", rest.split()


def help_of(project: Path, command: list[str]) -> str:
    """What a tool says of its options."""
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_call_is_understood(project: Path) -> None:
    """A renamed option would stop a deployment half-way."""
    seen: dict[tuple[str, ...], str] = {}
    for path in pipelines(project):
        for tool, words in commands(path):
            call = ["-m", tool] if tool.startswith("infra.") else tool.split()
            if tool.startswith("infra.hooks.") or tool == "infra.delivery.compiling":
                assert (project / f"{tool.replace('.', '/')}.py").exists()
                continue
            ways = [word for word in words[:1] if not word.startswith("-")]
            options = {word for word in words if word.startswith("--")}
            known = seen.setdefault((tool, *ways), help_of(project, [*call, *ways]))
            assert all(option in known for option in options), f"{path.name}: {tool} {' '.join(words)}"
    delivery = {"infra.delivery.rollout", "infra.delivery.load", "dev.py package"}
    assert {name for name, *_ in seen} == delivery | {
        f"dev.py {verb}" for verb in ("chaos", "check", "fuzz", "rehearse", "test")
    }


def test_both_pipelines_go_the_same_way(project: Path) -> None:
    """The same tools with the same options, but for names of variables."""

    def way(paths: list[Path]) -> set[tuple[str, ...]]:
        return {
            (tool, *sorted(word for word in words if word.startswith("--") and word != "--json"))
            for path in paths
            for tool, words in commands(path)
            if "--to" not in words  # going back by hand is a workflow of its own on GitHub
        }

    github = [path for path in pipelines(project) if ".github" in path.parts and path.name != "nightly.yml"]
    azure = [path for path in pipelines(project) if ".github" not in path.parts]
    assert way(github) == way(azure)


def test_nothing_is_changed_before_compiler_and_what_if_have_spoken(project: Path) -> None:
    """In this order, in both; and what a what-if would delete is judged before it is done."""
    deploying = [path for path in pipelines(project) if "az deployment sub create" in path.read_text()]
    assert len(deploying) == 2
    for path in deploying:
        text = path.read_text()
        steps = ["infra.delivery.compiling", "sub what-if", "--what-if ", "sub create", "rollout auto"]
        assert [text.index(step) for step in steps] == sorted(text.index(step) for step in steps), path.name
        assert "--no-pretty-print" in text


def test_a_zip_goes_through_every_stage(project: Path) -> None:
    """dev, test, staging, prod: each after the one before, the last three by a runner of their own."""
    stages = [file.stem for file in sorted((project / "infra" / "params").iterdir())]
    github = (project / ".github" / "workflows" / "deliver.yml").read_text()
    azure = (project / "azure-pipelines.yml").read_text()
    order = ["dev", "test", "staging", "prod"]
    assert sorted(order) == stages
    for before, stage in pairwise(order):
        assert re.search(rf"  {stage}:\n    name: .*\n    needs: \[build, {before}\]", github), stage
        assert re.search(rf"environment: {stage}, after: {before}, load: \w+, pool: ", azure), stage
        assert re.search(rf"environment: {stage}\n      runner: \$\{{\{{ vars\.PRIVATE_RUNNER", github), stage


def test_results_and_coverage_are_published(project: Path) -> None:
    """As JUnit and Cobertura, from the files that the scripts write."""
    assert "--junitxml=reports/junit.xml" in (project / ".ci" / "run").read_text()
    assert "coverage xml -o reports/coverage.xml" in (project / ".ci" / "coverage").read_text()
    azure = (project / "azure-pipelines.yml").read_text()
    assert "testResultsFiles: reports/*.xml" in azure
    assert "summaryFileLocation: reports/coverage.xml" in azure
    assert (project / ".github" / "workflows" / "ci.yml").read_text().count("path: reports/") == 2


@pytest.mark.parametrize("secret", ["AZURE_CREDENTIALS", "secrets.", "client-secret", "creds:", "publish-profile"])
def test_no_pipeline_stores_a_secret(project: Path, secret: str) -> None:
    """The sign-in is by federation."""
    for path in pipelines(project):
        assert secret not in path.read_text(encoding="utf-8"), path.name


def test_every_pinned_action_is_named_by_its_version(project: Path) -> None:
    """The comment tells people, and the update bot, which version a commit is."""
    for path in (project / ".github" / "workflows").glob("*.yml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (found := re.search(r"uses: ([\w./-]+)@(\S+)(.*)", line)) is not None:
                assert re.fullmatch(r"[0-9a-f]{40}", found[2]), line
                assert re.search(r"# v\d+\.\d+\.\d+$", found[3]), line
