"""The app starts on every `azure.functions` that a worker in service may have loaded before it.

On Flex Consumption the placeholder process has imported the worker's own, older version by the time the app is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSIONS = ("1.22.1", "1.23.0", "1.24.0", "1.25.0", "1.26.0")
_START = """\
import sys
sys.path.insert(0, sys.argv[1])
import azure.functions
assert azure.functions.__file__.startswith(sys.argv[1]), azure.functions.__file__
import function_app
print(len(function_app.app.get_functions()))
"""


def _library(project: Path, version: str) -> Path:
    """That version alone, kept for the next run."""
    home = project / ".sluice" / "tools" / "azure-functions" / version
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home)]
        done = subprocess.run(
            [*install, f"azure-functions=={version}"], capture_output=True, text=True, timeout=100, check=False
        )
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"azure-functions {version} can't be had here: {done.stderr.strip().splitlines()[-1:]}")
        assert done.returncode == 0, done.stderr
        (home / "complete").touch()
    return home


@pytest.mark.parametrize("version", VERSIONS)
def test_the_app_starts_on_an_older_library(project: Path, version: str) -> None:
    """With all of its functions."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker = "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;"
    settings = sample | dict.fromkeys(("ServiceBus", "EventHubs"), broker)
    settings |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), "UseDevelopmentStorage=true")
    settings |= {"SLUICE_AUTH": "none", "SLUICE_OPERATION_KEY": "-" * 40}
    settings["Lake"] = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:1/a;"
    done = subprocess.run(
        [sys.executable, "-c", _START, str(_library(project, version))],
        cwd=project,
        env={**os.environ, **settings, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    declared = json.loads((project / "infra" / "declarations.json").read_text())["functions"]
    assert int(done.stdout.splitlines()[-1]) == len(declared)
