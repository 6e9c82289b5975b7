"""Clients go on by themselves after the broker was stopped or killed, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreign.driver import Driver, Refused
from foreign.spoken import SDKS, spoken_by
from integration.broker.process import EmulatorProcess

_QUEUES = [
    {"Name": "plain", "Properties": {}},
    {"Name": "sessions", "Properties": {"RequiresSession": True}},
]
_CONFIG: dict[str, Any] = {
    "UserConfig": {
        "Namespaces": [{"Name": "sbemulatorns", "Queues": _QUEUES, "Topics": []}],
        "Logging": {"Type": "File"},
    }
}


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """A broker of the test's own."""
    with EmulatorProcess(tmp_path / "broker", [_CONFIG]) as running:
        yield running


def insist(client: Driver, op: str, **given: Any) -> Any:
    """Call until it goes well: most libraries are told not to try again."""
    end = time.monotonic() + 60
    while True:
        try:
            return client.call(op, **given)
        except Refused:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@spoken_by(*SDKS)
def test_clients_go_on_after_a_stop_and_a_kill(
    language: str, mortal: EmulatorProcess, start_driver: Callable[..., Driver]
) -> None:
    client = start_driver(language, mortal, retries=2)  # Go's library connects anew only while it tries again
    client.call("send", queue="plain", messages=[{"id": "0", "body": ""}])
    client.call("send", queue="sessions", messages=[{"id": "0", "body": "", "session": "a"}])
    client.call("open", handle="receiver", queue="plain")
    client.call("accept", handle="session", queue="sessions", session="a")
    assert [each["id"] for each in client.call("receive", handle="session", max=1, wait=10_000)] == ["0"]
    mortal.stop()
    mortal.start()
    insist(client, "send", queue="plain", messages=[{"id": "1", "body": ""}])
    mortal.kill()
    mortal.start()
    insist(client, "send", queue="plain", messages=[{"id": "2", "body": ""}])
    found: dict[str, int] = {}
    end = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < end:
        for each in insist(client, "receive", handle="receiver", max=3 - len(found), wait=10_000):
            found[each["id"]] = each["ref"]
    assert sorted(found) == ["0", "1", "2"]
    insist(client, "accept", handle="again", queue="sessions", session="a")
    assert [each["id"] for each in insist(client, "receive", handle="again", max=1, wait=10_000)] == ["0"]
