"""The two checkers of Bicep: neither finds anything, and neither leaves anything out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.infra.plain import plain, plain_copy

CHECKOV_SECONDS = 300
UNTYPED = {"Microsoft.Cdn/profiles/afdEndpoints/routes", "Microsoft.Cdn/profiles/originGroups/origins"}
"""Of these two bicepcheck has no definition."""


def test_bicepcheck_is_clean(project: Path, infra: Path) -> None:
    """Syntax, names, types against Azure's definitions, modules and security; every file and every resource."""
    checker = project.parent / "shared" / "tools" / "bicepcheck" / "bicepcheck"
    if not checker.exists():
        checker = project.parent.parent / "shared" / "tools" / "bicepcheck" / "bicepcheck"
    if not checker.exists():
        pytest.skip("bicepcheck is not beside this repository (../shared/tools/bicepcheck)")
    done = subprocess.run(
        [str(checker), "--strict", "--list-unchecked", str(infra)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    summary = done.stdout.strip().splitlines()[-1]
    files = [file for file in infra.rglob("*.bicep*") if file.parent != infra or file.suffix == ".bicep"]
    assert int(summary.split()[0]) >= len(files)
    assert set(re.findall(r"^not checked: (\S+)@", done.stdout, re.MULTILINE)) == UNTYPED
    assert re.search(r"\(0 references NOT checked: not local\), 0 parse failures, 0 errors, 0 warnings", summary)


@pytest.fixture(scope="session")
def checkov(project: Path) -> Path:
    """Checkov in an environment of its own: what it needs clashes with what the app needs. Made once, then kept."""
    wanted = project / "tests" / "infra" / "checkov-requirements.txt"
    home = project / ".sluice" / "tools" / "checkov"
    program = home / ("Scripts" if os.name == "nt" else "bin") / "checkov"
    installed = home / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        install = [
            str(program.with_name("python")),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "-r",
            str(wanted),
        ]
        done = subprocess.run(install, capture_output=True, text=True, timeout=CHECKOV_SECONDS, check=False)
        if done.returncode:
            pytest.skip(f"checkov can't be installed here: {done.stderr.strip().splitlines()[-1:]}")
        installed.write_text(wanted.read_text())
    return program


@pytest.fixture(scope="session")
def report(checkov: Path, infra: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What checkov says, and which files it was to read."""
    folder = tmp_path_factory.mktemp("plain")
    copies = plain_copy(infra, folder)
    scan = ["--directory", str(folder), "--framework", "bicep", "--output", "json", "--skip-download"]
    done = subprocess.run([str(checkov), *scan], capture_output=True, text=True, timeout=CHECKOV_SECONDS, check=False)
    found = json.loads(done.stdout)
    assert isinstance(found, dict), done.stdout[:500]
    return {**found, "copies": copies}


@pytest.mark.timeout(2 * CHECKOV_SECONDS)
def test_checkov_has_skipped_no_file(report: dict[str, Any]) -> None:
    """Its parser leaves a file out that it doesn't know, and only counts it."""
    assert report["results"]["parsing_errors"] == []
    assert len(report["copies"]) >= 20
    assert report["summary"]["resource_count"] > 50


@pytest.mark.timeout(2 * CHECKOV_SECONDS)
def test_checkov_finds_nothing_that_has_no_reason(report: dict[str, Any]) -> None:
    """No failed check; what is suppressed says why in a sentence."""
    results = report["results"]
    assert [(one["check_id"], one["file_path"], one["resource"]) for one in results["failed_checks"]] == []
    assert results["passed_checks"]
    for one in results["skipped_checks"]:
        assert len(one["check_result"]["suppress_comment"]) >= 20, one["check_id"]


def test_plain_syntax_keeps_lines_and_resources(infra: Path) -> None:
    """What checkov reads is what is deployed, line for line."""
    for file in sorted(infra.rglob("*.bicep")):
        source = file.read_bytes()
        copy = plain(source)
        assert copy.count(b"\n") == source.count(b"\n"), file
        pattern = re.compile(rb"^(?:resource|module|output|var) .*$", re.MULTILINE)
        assert pattern.findall(copy) == pattern.findall(source), file
        assert b"import {" not in copy


def test_checkov_names_a_file_that_it_cannot_read(checkov: Path, tmp_path: Path) -> None:
    """What the two tests above rest on."""
    (tmp_path / "broken.bicep").write_text("resource x {{{\n")
    scan = ["--directory", str(tmp_path), "--framework", "bicep", "--output", "json", "--skip-download"]
    done = subprocess.run([str(checkov), *scan], capture_output=True, text=True, timeout=CHECKOV_SECONDS, check=False)
    unread = json.loads(done.stdout)["results"]["parsing_errors"]
    assert [Path(one).name for one in unread] == ["broken.bicep"]
