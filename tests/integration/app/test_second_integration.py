"""A second integration: one module under `integrations/`, and it is taken in, handled, published and shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess

PARCELS = '''"""Parcels on their way."""

from shared.messages import Contract, Integration
from shared.work import Work

parcels = Integration("parcels")


class Parcel(Contract):
    """A parcel that was seen somewhere."""

    parcel_id: str
    place: str


@parcels.handles("parcel.scanned", key="parcelId", route="parcels")
async def scan(parcel: Parcel, work: Work) -> None:
    """Remember and tell."""
    await work.save("parcel", parcel.parcel_id, parcel)
    work.publish("parcel.seen", parcel)


@parcels.projects("parcel.seen", into="parcels")
def row(parcel: Parcel) -> Parcel:
    """Where it was seen last."""
    return parcel
'''
SECONDS = 60.0


@pytest.fixture(scope="module")
def app(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's app in a folder of its own, with one module more."""
    folder = tmp_path_factory.mktemp("second") / "app"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "integrations", "shared"):
        shutil.copytree(project / name, folder / name, ignore=ignored)
    for name in ("function_app.py", "host.json"):
        shutil.copy(project / name, folder / name)
    (folder / "integrations" / "parcels.py").write_text(PARCELS)
    return folder


@pytest.fixture(scope="module")
def api(app: Path, project: Path, azurite: AzuriteEndpoints, emulator: BrokerProcess) -> Iterator[str]:
    """The address of the running app; its log is printed when a test fails."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    settings = sample | {
        "ServiceBus": emulator.connection_string,
        "EventHubs": emulator.connection_string,
        "AzureWebJobsStorage": azurite.connection_string,
        "State": azurite.connection_string,
        "Claims": azurite.connection_string,
        "SLUICE_OPERATION_KEY": "not-a-secret-but-thirty-two-long!",
        "SLUICE_AUTH": "none",
    }
    log = app.parent / "log"
    command = [sys.executable, "-m", "local_azure.host", "--app", str(app), "--port", "0"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=project, env={**os.environ, **settings}, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        yield f"http://127.0.0.1:{_port(process, log)}/api"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        print(log.read_text(errors="replace")[-5_000:])  # noqa: T201 - shown by pytest when a test fails


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        if ready := re.search(r"^ready http=(\d+)", log.read_text(errors="replace"), re.MULTILINE):
            return int(ready[1])
        time.sleep(0.1)
    raise RuntimeError(f"the host isn't ready:\n{log.read_text(errors='replace')[-3_000:]}")


def ask(address: str, body: object = None) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, _named(answer.headers), json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, _named(refused.headers), json.load(refused)


def _named(headers: Message) -> dict[str, str]:
    """By lower-case names: no two hosts write them alike."""
    return {name.lower(): value for name, value in headers.items()}


def until_found(address: str) -> dict[str, object]:
    """The answer as soon as it is 200."""
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        status, _, found = ask(address)
        if status == 200:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{address} is still not there")


def test_a_module_under_integrations_is_all_it_takes(api: str) -> None:
    """From its own path to its own read model, with an operation that succeeds."""
    status, headers, _ = ask(f"{api}/parcels", {"parcelId": "P-1", "place": "Köln"})
    assert status == 202
    assert until_found(f"{api}/parcels/P-1") == {"parcelId": "P-1", "place": "Köln"}
    operation = until_found(api.removesuffix("/api") + headers["location"])
    assert operation["status"] == "succeeded"


def test_the_first_integration_does_not_notice(api: str) -> None:
    """Orders are validated and taken as before, and both are described."""
    status, _, refused = ask(f"{api}/orders", {"orderId": "1"})
    assert (status, refused["status"]) == (400, "error")
    line = {"sku": "a", "quantity": 1, "unitPrice": "2.50"}
    order = {"orderId": "536365", "placedAt": "2010-12-01T08:26:00Z", "country": "France", "lines": [line]}
    assert ask(f"{api}/orders", order)[0] == 202
    assert until_found(f"{api}/orders/536365")["total"] == "2.50"
    _, _, description = ask(f"{api}/openapi.json")
    paths = description["paths"]
    assert isinstance(paths, dict)
    assert {"/api/parcels", "/api/parcels/{key}", "/api/orders"} <= paths.keys()


def test_a_message_larger_than_a_body_comes_as_an_upload(api: str) -> None:
    """In blocks through the host, which holds none of them longer than its own request."""
    payload = json.dumps({"parcelId": "P-2", "place": "Lyon", "note": "x" * 9_000_000}).encode()
    _, _, opened = ask(f"{api}/uploads", {})
    blocks = opened["blocks"]
    assert isinstance(blocks, dict)
    for number in range(2):
        block = payload[number * blocks["size"] : (number + 1) * blocks["size"]]
        address = api.removesuffix("/api") + blocks["path"].format(number=number)
        kind = {"Content-Type": "application/octet-stream"}
        with urllib.request.urlopen(urllib.request.Request(address, block, kind, method="PUT"), timeout=20) as kept:
            assert kept.status == 204
    named = {"id": opened["uploadId"], "size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    assert ask(f"{api}/parcels", {"upload": named})[0] == 202
    assert until_found(f"{api}/parcels/P-2") == {"parcelId": "P-2", "place": "Lyon"}


def test_the_composed_functions_are_the_same(app: Path, project: Path, api: str) -> None:
    """An integration adds no function of its own: it rides on the lanes."""
    environment = {
        **os.environ,
        "ServiceBus": "a=b",
        "EventHubs": "a=b",
        "State": "a=b",
        "Claims": "a=b",
        "SLUICE_OPERATION_KEY": "not-a-secret-but-thirty-two-long!",
        "SLUICE_AUTH": "none",
    }
    code = "import function_app; print(*sorted(f.get_function_name() for f in function_app.app.get_functions()))"
    listed = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        for folder in (app, project)
    ]
    assert listed[0].stdout == listed[1].stdout != ""
