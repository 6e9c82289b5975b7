"""The smoke and load tests of a deployment say what holds and what doesn't."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from infra.delivery.api import Api
from infra.delivery.load import Limits, load
from infra.delivery.smoke import Clock, main, smoke
from integrations.orders.models import Order

from .conftest import Deployment


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def clock(self) -> Clock:
        return Clock(lambda: self.at, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.at += seconds


def looked_at(deployment: Deployment, timeout: float = 5.0) -> dict[str, bool]:
    """Each check and whether it held."""
    api = Api(deployment.url, "token")
    return {found.check: found.passed for found in smoke(api, timeout=timeout, clock=Time().clock())}


def test_a_good_deployment_passes_every_check(deployment: Deployment) -> None:
    """Up, closed to strangers, and an order goes all the way."""
    assert looked_at(deployment) == {
        "ready": True,
        "alive": True,
        "strangers are refused": True,
        "an order is taken": True,
        "it is processed": True,
        "it can be read": True,
    }
    assert deployment.authorized == [None, "Bearer token"]


def test_every_call_is_an_operation_of_the_gateway(deployment: Deployment, project: Path) -> None:
    """The gateway knows what the API's description has, and answers 404 to everything else."""
    looked_at(deployment)
    load(Api(deployment.url, "token"), rate=5.0, seconds=0.4, workers=1, process_seconds=1.0)
    described = json.loads((project / "infra" / "openapi.json").read_text())["paths"]
    operations = {
        (method, re.compile(re.sub(r"\{\w+\}", "[^/?]+", path) + r"(\?.*)?"))
        for path, methods in described.items()
        for method in methods
    }
    assert len(deployment.called) >= 5
    for method, path in deployment.called:
        assert any(method == known and pattern.fullmatch(path) for known, pattern in operations), (method, path)


def test_the_first_timers_page_shows_what_is_printed_and_an_order_that_is_taken(
    deployment: Deployment, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checks by their names, and a body that the API's own model takes."""
    page = (project / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert main(["--url", deployment.url, "--timeout", "5"]) in (0, 1)
    printed = [re.sub(r"^(ok|FAILED)\s+", "", line)[:22].strip() for line in capsys.readouterr().out.splitlines()]
    shown = [line[7:29].strip() for line in page.splitlines() if line.startswith("ok     ")]
    assert printed == shown[: len(printed)]
    assert len(shown) == 6
    (body,) = re.findall(r"-d '(\{.*?\})'\n", page, re.DOTALL)
    taken = Order.model_validate_json(body)
    assert taken.order_id == "first-1"


@pytest.mark.parametrize(
    ("broken", "last"),
    [("unready", "ready"), ("failing", "an order is taken"), ("stuck", "it is processed")],
)
def test_what_does_not_hold_ends_the_test(deployment: Deployment, broken: str, last: str) -> None:
    """The check that failed is the last one, and the only one that failed."""
    deployment.broken = {broken}
    found = looked_at(deployment)
    assert list(found)[-1] == last
    assert [check for check, passed in found.items() if not passed] == [last]


def test_an_api_that_takes_orders_from_strangers_fails(deployment: Deployment) -> None:
    """A deployment whose callers aren't checked must not get traffic."""
    deployment.broken = {"open"}
    assert not looked_at(deployment)["strangers are refused"]


def test_every_try_carries_the_same_message_id(deployment: Deployment) -> None:
    """A lost answer must not make two orders."""
    looked_at(deployment)
    looked_at(deployment)
    assert len(set(deployment.posted)) == 2


def test_nobody_there_is_a_failure_and_no_traceback() -> None:
    """A refused connection is told as such."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    (found,) = smoke(Api(url), timeout=3.0, clock=Time().clock())
    assert not found.passed
    assert "refused" in found.seen.lower()


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://example.com"])
def test_an_address_that_would_leak_the_token_is_refused(url: str) -> None:
    """Plain HTTP is for loopback only."""
    with pytest.raises(ValueError, match="https"):
        Api(url)


def test_the_token_is_not_in_the_repr() -> None:
    """A log of the object must not hold it."""
    assert "abc" not in repr(Api("https://example.com", "abc"))


def test_the_command_exits_with_what_it_found(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 with the findings in the file, 1 where something doesn't hold."""
    monkeypatch.setenv("SLUICE_TOKEN", "token")
    deployment.asked = 1
    assert main(["--url", deployment.url, "--timeout", "2", "--json", str(tmp_path / "found.json")]) == 0
    assert '"it can be read"' in (tmp_path / "found.json").read_text(encoding="utf-8")
    deployment.broken = {"unready"}
    assert main(["--url", deployment.url, "--timeout", "0"]) == 1


def test_a_load_test_counts_what_it_did(deployment: Deployment) -> None:
    """Every request is counted once, and a sample is followed to its end."""
    figures = load(Api(deployment.url, "token"), rate=200, seconds=0.5, workers=8, process_seconds=5)
    assert (figures.requests, figures.accepted, figures.failed) == (100, 100, 0)
    assert figures.statuses == {"202": 100}
    assert figures.processed == figures.sampled == 20
    assert not figures.broken(Limits(p95_ms=60_000, error_share=0.0))


def test_a_load_test_fails_where_the_limits_are_broken(deployment: Deployment) -> None:
    """Failures and slowness are told apart from throttling."""
    deployment.broken = {"failing"}
    figures = load(Api(deployment.url, "token"), rate=100, seconds=0.2, workers=4, process_seconds=0)
    broken = figures.broken(Limits(p95_ms=0.0, error_share=0.5))
    assert figures.failed == 20
    assert len(broken) == 2


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 10.0), (1.0, 0.0), (1e6, 1e6), (-1.0, 5.0)])
def test_a_load_test_is_bounded(rate: float, seconds: float) -> None:
    """Nothing is sent where the number of requests is none or endless."""
    with pytest.raises(ValueError, match="requests"):
        load(Api("http://127.0.0.1:9"), rate=rate, seconds=seconds, workers=1, process_seconds=0)
