"""Hostile requests to the app behind the local host: a small run of what `dev.py fuzz requests` does at length."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from local.fuzz.hostile import HostileRequest, hostile_request
from local.fuzz.report import Options, Report
from local.fuzz.requests import broken_promise, fuzz_address
from local.fuzz.wire import Answer
from local_azure.testing.processes import running
from tests.integration.conftest import RunningIssuer
from tests.scale import SCALE

COUNT = int(400 * SCALE)
APP = '''"""The app's API with memory at its edges."""

import os

import integrations
from functions.composition import CAPABILITIES
from functions.composition.api import gathered
from functions.composition.composing import compose
from shared.messages import discover
from tests.unit.functions.conftest import ENVIRONMENT, Running

settings = {name: value for name, value in ENVIRONMENT.items() if name != "SLUICE_AUTH"}
settings |= {name: os.environ[name] for name in os.environ if name.startswith("SLUICE_AUTH_")}
running = Running(discover(integrations), {**settings, "PYTHON_ENABLE_INIT_INDEXING": "1"})
app = compose([gathered(running.composition, [make(running.composition) for make in CAPABILITIES])])
'''


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, project: Path, issuer: RunningIssuer) -> Iterator[tuple[int, int]]:
    """Port and process id of a local host that serves the app."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copy(project / "host.json", folder / "host.json")
    (folder / "function_app.py").write_text(APP)
    values = {
        **issuer.settings,
        "PYTHON_ENABLE_INIT_INDEXING": "1",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    }
    (folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    command = [sys.executable, "-m", "local_azure.host", "--app", str(folder), "--port", "0", "--quiet"]

    def ready(printed: str) -> int | None:
        found = re.search(r"^ready http=(\d+)", printed, re.MULTILINE)
        return int(found[1]) if found else None

    with running(command, folder / "log", ready) as found:
        yield found


async def test_hostile_requests_break_no_promise(served: tuple[int, int], issuer: RunningIssuer) -> None:
    """More of them, of any seed: `dev.py fuzz requests --seed N`."""
    port, pid = served
    tokens = [issuer.token(client=f"fuzz-{role}", roles=(role,)) for role in ("producer", "reader", "operator")]
    report = Report()
    await fuzz_address("127.0.0.1", port, tokens, Options(project=Path(), seed=17, count=COUNT), report, pid=pid)
    assert report.failed == []
    answers = dict(report.rows)
    assert {"200 by the app", "202 by the app", "400 by the app", "401 by the app", "403 by the app"} <= answers.keys()


async def test_a_case_is_the_same_whatever_ran_before_it() -> None:
    """So a failure is repeated by its number."""
    first, again = (hostile_request(Random("1:7"), ["a.b.c"], run="1") for _ in range(2))
    assert first == again


REQUEST = HostileRequest(pieces=(b"x",), method="GET", about="", is_complete=True)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(status=-1), "in time"),
        (Answer(status=0), "without an answer"),
        (Answer(status=500, body=b"oops"), "500"),
        (Answer(status=400, headers={"x-correlation-id": "1"}, body=b"Bad Request"), "another format"),
        (Answer(status=200, body=b"Traceback (most recent call last)"), "inside"),
    ],
)
def test_a_broken_promise_is_named(answer: Answer, says: str) -> None:
    """The fuzz itself must be able to fail."""
    assert says in (broken_promise(REQUEST, answer) or "")
