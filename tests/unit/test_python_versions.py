"""What is stated about Python's versions agrees, and the pins are a whole for each version: without installing any."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import dev
from local.packaging.requirements import applies, pins

PROJECT = Path(__file__).parents[2]
FILES = ("requirements", "local/requirements", "tests/requirements")
VERSIONS = [f"3.{minor}" for minor in range(dev.OLDEST[1], dev.NEWEST[1] + 1)]


def text(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def direct(name: str, python: str) -> list[Requirement]:
    """What an .in file names for a version."""
    lines = [line.partition("#")[0].strip() for line in text(f"{name}.in").splitlines()]
    return [each for line in lines if line and not line.startswith("-") if applies(each := Requirement(line), python)]


def pinned(python: str) -> dict[str, str]:
    """All pins for a version; one version of each package, whatever file it is pinned in."""
    found: dict[str, str] = {}
    for name in FILES:
        for pin in pins(text(f"{name}.txt"), python):
            assert found.setdefault(pin.name, pin.version) == pin.version, (name, pin)
    return found


def test_all_places_state_the_same_versions() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    assert project["project"]["requires-python"] == f">={VERSIONS[0]},<3.{dev.NEWEST[1] + 1}"
    assert project["tool"]["mypy"]["python_version"] == VERSIONS[0]
    assert project["tool"]["ruff"]["target-version"] == VERSIONS[0].replace("3.", "py3")
    (matrix,) = re.findall(r"python: \[(.*)\]", text(".github/workflows/ci.yml"))
    assert matrix.replace('"', "").split(", ") == VERSIONS
    assert re.findall(r'py3\d+: \{ python: "(.*)" \}', text("azure-pipelines.yml")) == VERSIONS
    assert f'_NEWEST = "{VERSIONS[-1]}"' in text("local/checks.py")
    for place in ("local/setup/environment.py", "local/packaging/building.py"):
        (supported,) = re.findall(r"_SUPPORTED = \((.*)\)", text(place))
        assert supported.replace('"', "").split(", ") == VERSIONS, place
    assert f"You need Python {', '.join(VERSIONS[:-1])} or {VERSIONS[-1]}." in text("README.md")


@pytest.mark.parametrize("python", VERSIONS)
def test_the_pins_hold_all_that_is_named_and_all_that_it_needs(python: str) -> None:
    """What a package needs is known of those that are installed here in the version that is pinned."""
    held = pinned(python)
    wanted = [(name, each) for name in FILES for each in direct(name, python)]
    known = 0
    for name, version in held.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        if installed.version == version:
            known += 1
            assert python in SpecifierSet(installed.metadata["Requires-Python"] or ""), name
            needs = [Requirement(each) for each in installed.requires or ()]
            wanted += [(name, each) for each in needs if applies(each, python)]
    assert known > 0.9 * len(held)
    for by, each in wanted:
        version = held.get(canonicalize_name(each.name), "")
        assert version, f"{by} needs {each}, which is not pinned"
        assert each.specifier.contains(version, prereleases=True), f"{by} needs {each}, and {version} is pinned"


@pytest.mark.parametrize(("python", "major"), [("3.11", "1"), ("3.12", "1"), ("3.13", "2"), ("3.14", "2")])
def test_each_worker_gets_the_library_that_it_takes(python: str, major: str) -> None:
    """learn.microsoft.com: azure-functions 1.x is for Python below 3.13, 2.x for 3.13 and later."""
    assert pinned(python)["azure-functions"].split(".")[0] == major


def test_this_python_is_one_of_them() -> None:
    assert dev.OLDEST <= sys.version_info[:2] <= dev.NEWEST
