"""The app's own package starts with nothing but what is in it."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

from local.packaging import PackageOptions, build
from local.packaging.wheels import VENDORED

PROJECT = Path(__file__).parents[3]
DEPLOYED = {"function_app.py", "host.json", "requirements.txt", "functions", "integrations", "ops", "shared"}


@pytest.mark.timeout(300)  # wheels are fetched once on a new machine
def test_unpacked_into_an_empty_folder_it_lists_its_functions(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    plain = build(PackageOptions(project=PROJECT, out=tmp_path / "plain.zip", allow_dirty=True))
    whole = build(
        PackageOptions(
            project=PROJECT,
            out=tmp_path / "whole.zip",
            allow_dirty=True,
            with_packages=True,
            python=version,
            wheels=PROJECT / ".sluice" / "wheels",
        )
    )
    assert whole.own_packages
    assert {"api", "lane_high", "lane_ordered", "read_models", "jobs_streams"} <= set(whole.functions)
    assert whole.functions == plain.functions
    names = zipfile.ZipFile(tmp_path / "plain.zip").namelist()
    assert {name.split("/")[0] for name in names} == DEPLOYED
    inside = zipfile.ZipFile(tmp_path / "whole.zip").namelist()
    assert inside == sorted(inside)
    sources = [name for name in inside if "__pycache__" not in name]
    assert [name for name in sources if not name.startswith(VENDORED)] == names
    assert whole.compiled == len(inside) - len(sources)
    with zipfile.ZipFile(tmp_path / "whole.zip") as archive:
        flags = archive.read(importlib.util.cache_from_source("shared/work/work.py").replace("\\", "/"))[4:8]
    assert flags == b"\x01\0\0\0"  # a hash that isn't checked: nothing is read twice, and no clock counts
