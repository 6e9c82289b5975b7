"""A rollout ends with the new zip everywhere, or with the one before everywhere, and says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from infra.delivery.azure import Azure, AzureFailed, Releases
from infra.delivery.deployment import Colour, Deployment
from infra.delivery.rollout import Rollout, RolloutFailed, digest, main

from .conftest import Subscription, package

BLUE = Colour("blue", ("blue-lanes", "blue-api"), "https://blue.example.com")
GREEN = Colour("green", ("green-lanes", "green-api"), "https://green.example.com")
GATEWAY = "https://example.com"
POOL = "/services/one/backends/pool"


def rollout(holds: Callable[[str], str | None] = lambda url: None, said: list[str] | None = None) -> Rollout:
    """A rollout that doesn't wait."""
    told = [] if said is None else said
    return Rollout(Azure("group"), Releases("account"), holds, told.append, hold_seconds=0.0, sleep=lambda _: None)


def runs(subscription: Subscription, app: str) -> str | None:
    """Digest of the zip an app was given last; the note of what it runs must say the same."""
    given = subscription.state["apps"][app]["zip"]
    found = sha256(bytes.fromhex(given)).hexdigest() if given else None
    assert Releases("account").running(app) == found
    return found


def test_rolling_puts_the_zip_on_every_app(subscription: Subscription, tmp_path: Path) -> None:
    """In the order given, kept for a rollback, and noted where no deployment of the infrastructure writes."""
    new = package(tmp_path, "new")
    rollout().rolling(new, BLUE.apps, GATEWAY)
    assert [runs(subscription, app) for app in BLUE.apps] == [digest(new)] * 2
    installed = [call[call.index("--name") + 1] for call in subscription.state["calls"] if "config-zip" in call]
    assert installed == list(BLUE.apps)
    assert (tmp_path / "blobs" / f"{digest(new)}.zip").read_bytes() == new.read_bytes()
    assert {tuple(call[:3]) for call in subscription.state["calls"]} == {
        ("storage", "blob", "exists"),
        ("storage", "blob", "upload"),
        ("functionapp", "deployment", "source"),
        ("functionapp", "config", "appsettings"),
        ("functionapp", "function", "list"),
        ("storage", "blob", "download"),
    }


class Instances:
    """What an address answers with as its instances are replaced, one answer after the other; the last one stays."""

    def __init__(self, *releases: str | None) -> None:
        self.left = list(releases)
        self.asked = 0

    def __call__(self, _: str) -> str | None:
        self.asked += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def waiting(answers: Instances, said: list[str]) -> Rollout:
    """A rollout that asks who answers, and doesn't wait."""
    return replace(rollout(said=said), answers=answers)


def test_the_end_of_a_rolling_update_is_seen(subscription: Subscription, tmp_path: Path) -> None:
    """The platform tells none: the API must answer as the new release, three times in a row."""
    new, said = package(tmp_path, "new"), list[str]()
    name = digest(new)[:12]
    answers = Instances("old", None, name, "old", name)
    waiting(answers, said).rolling(new, BLUE.apps, GATEWAY)
    assert answers.asked == 4 + 3
    assert said[-1] == f"{GATEWAY} answers as {name}"
    assert subscription.state["apps"]["blue-api"]["release"] == name


def test_an_update_that_does_not_end_is_put_back(subscription: Subscription, tmp_path: Path) -> None:
    """The old release goes on answering: whatever holds the new one back, it isn't there."""
    old, new, said = package(tmp_path, "old"), package(tmp_path, "new"), list[str]()
    rollout().rolling(old, BLUE.apps, GATEWAY)
    with pytest.raises(RolloutFailed, match="still answers as before after 300 s"):
        waiting(Instances("before"), said).rolling(new, BLUE.apps, GATEWAY)
    assert [runs(subscription, app) for app in BLUE.apps] == [digest(old)] * 2
    assert subscription.state["apps"]["blue-api"]["release"] == digest(old)[:12]


def test_a_release_from_before_health_told_it_can_be_gone_back_to(subscription: Subscription, tmp_path: Path) -> None:
    """It is said that nobody knows, and the smoke test decides."""
    new, said = package(tmp_path, "new"), list[str]()
    waiting(Instances(None), said).rolling(new, BLUE.apps, GATEWAY)
    assert "tells no release" in said[-1]
    assert runs(subscription, "blue-api") == digest(new)


@pytest.mark.parametrize("trouble", ["smoke", "deploy", "index"])
def test_what_does_not_hold_is_put_back(subscription: Subscription, tmp_path: Path, trouble: str) -> None:
    """Whatever fails, and wherever: the zip before runs on every app that was changed."""
    old, new = package(tmp_path, "old"), package(tmp_path, "new")
    rollout().rolling(old, BLUE.apps, GATEWAY)
    seen: list[str] = []

    def holds(url: str) -> str | None:
        seen.append(url)
        return "it is processed: 503" if trouble == "smoke" else None

    if trouble == "deploy":
        subscription.fail("config-zip", "blue-api", once=True)
    if trouble == "index":
        subscription.fail("function list", "blue-api", once=True)
    with pytest.raises(RolloutFailed, match=r"runs .* again"):
        rollout(holds).rolling(new, BLUE.apps, GATEWAY)
    assert [runs(subscription, app) for app in BLUE.apps] == [digest(old)] * 2
    assert {state["zip"] for name, state in subscription.state["apps"].items() if name in BLUE.apps} == {
        old.read_bytes().hex()
    }


def test_an_app_whose_code_does_not_start_is_noticed(subscription: Subscription, tmp_path: Path) -> None:
    """A zip whose functions can't be indexed never counts as deployed."""
    apps = subscription.state["apps"]
    apps["blue-lanes"]["functions"] = []
    subscription.change(apps=apps)
    with pytest.raises(RolloutFailed, match="indexed no function"):
        rollout().rolling(package(tmp_path, "new"), BLUE.apps, GATEWAY)


def test_what_cannot_be_put_back_is_said_loudly(subscription: Subscription, tmp_path: Path) -> None:
    """An operator must read which app is on which zip, and what to run."""
    old = package(tmp_path, "old")
    rollout().rolling(old, BLUE.apps, GATEWAY)
    subscription.fail("storage blob download", f"{digest(old)}.zip")
    with pytest.raises(RolloutFailed, match=f"COULD NOT BE PUT BACK.*--to {digest(old)}"):
        rollout(lambda _: "503").rolling(package(tmp_path, "new"), BLUE.apps, GATEWAY)


def test_blue_green_shifts_step_by_step(subscription: Subscription, tmp_path: Path) -> None:
    """10, 25, 50, 100; then the old colour rests."""
    said: list[str] = []
    watched: list[tuple[str, int]] = []

    def holds(url: str) -> str | None:
        watched.append((url, subscription.weights()["green"]))
        return None

    new = package(tmp_path, "new")
    rollout(holds, said).blue_green(new, POOL, (BLUE, GREEN), GATEWAY)
    assert subscription.weights() == {"blue": 0, "green": 100}
    assert subscription.running() == ["green-api", "green-lanes"]
    assert watched[0] == (GREEN.url, 0)
    assert [share for url, share in watched if url == GATEWAY] == [10, 25, 50, 100]
    assert runs(subscription, "blue-api") is None
    rollout().blue_green(package(tmp_path, "newer"), POOL, (BLUE, GREEN), GATEWAY)
    assert subscription.weights() == {"blue": 100, "green": 0}
    assert subscription.running() == ["blue-api", "blue-lanes"]


@pytest.mark.parametrize("bad_at", [0, 10, 50, 100])
def test_blue_green_gives_the_traffic_back(subscription: Subscription, tmp_path: Path, bad_at: int) -> None:
    """At whichever step it fails, the colour before has everything, and the new one rests."""

    def holds(url: str) -> str | None:
        return "503" if subscription.weights()["green"] == bad_at else None

    with pytest.raises(RolloutFailed, match="blue has all of the traffic again"):
        rollout(holds).blue_green(package(tmp_path, "new"), POOL, (BLUE, GREEN), GATEWAY)
    assert subscription.weights() == {"blue": 100, "green": 0}
    assert subscription.running() == ["blue-api", "blue-lanes"]


def test_traffic_that_cannot_be_given_back_is_said_loudly(subscription: Subscription, tmp_path: Path) -> None:
    """The pool is named, so that somebody can set it by hand."""

    def holds(url: str) -> str | None:
        if subscription.weights()["green"] == 25:
            subscription.fail("rest --method patch")
            return "503"
        return None

    with pytest.raises(RolloutFailed, match=f"COULD NOT BE GIVEN BACK.*{POOL}"):
        rollout(holds).blue_green(package(tmp_path, "new"), POOL, (BLUE, GREEN), GATEWAY)


def test_back_goes_to_a_kept_zip(subscription: Subscription, tmp_path: Path) -> None:
    """By its digest, and only if the bytes still have it."""
    old = package(tmp_path, "old")
    rollout().rolling(old, BLUE.apps, GATEWAY)
    rollout().rolling(package(tmp_path, "new"), BLUE.apps, GATEWAY)
    rollout().back(digest(old), BLUE.apps, GATEWAY)
    assert [runs(subscription, app) for app in BLUE.apps] == [digest(old)] * 2
    package(tmp_path / "blobs", digest(old))  # somebody has put another zip under that name
    with pytest.raises(RolloutFailed, match="another digest"):
        rollout().back(digest(old), BLUE.apps, GATEWAY)
    with pytest.raises(AzureFailed, match="does not exist"):
        rollout().back("0" * 64, BLUE.apps, GATEWAY)


def test_only_a_package_of_the_app_is_rolled_out(tmp_path: Path) -> None:
    """An empty, truncated or foreign file never reaches an app."""
    whole = package(tmp_path, "whole")
    files = {"empty.zip": b"", "text.zip": b"not a zip", "cut.zip": whole.read_bytes()[:-30]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            digest(tmp_path / name)


def test_a_missing_az_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with 1 and a sentence."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["auto", "--zip", str(package(tmp_path, "new")), "--deployment", "sluice-dev"]) == 1
    assert "az" in capsys.readouterr().err


OUTPUTS = {
    "AZURE_RESOURCE_GROUP": "group",
    "SLUICE_APP_NAMES": ["blue-api", "blue-lanes"],
    "SLUICE_API_URI": GATEWAY,
    "SLUICE_PACKAGES_ACCOUNT": "account",
}


def outputs(**more: object) -> dict[str, dict[str, object]]:
    """Outputs as `az deployment sub show` prints them."""
    return {name: {"type": "String", "value": value} for name, value in {**OUTPUTS, **more}.items()}


def test_outputs_say_where(subscription: Subscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole command, from a deployment's outputs to the apps; without a pool it is rolling."""
    subscription.change(outputs=outputs())
    new = package(tmp_path, "new")
    monkeypatch.setattr("infra.delivery.rollout._smoke", lambda url: None)
    monkeypatch.setattr("infra.delivery.rollout._release", lambda url: digest(new)[:12])
    monkeypatch.setattr("infra.delivery.rollout._PAUSE_SECONDS", 0.0)
    assert main(["auto", "--zip", str(new), "--deployment", "sluice-dev"]) == 0
    assert [runs(subscription, app) for app in BLUE.apps] == [digest(new)] * 2
    assert main(["back", "--to", digest(new), "--deployment", "sluice-dev"]) == 0
    installed = [call[call.index("--name") + 1] for call in subscription.state["calls"] if "config-zip" in call]
    assert installed == ["blue-lanes", "blue-api"] * 2


def test_a_pool_makes_it_blue_green(
    subscription: Subscription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two colours behind the gateway: the idle one takes over."""
    colours = [{"backend": one.backend, "apps": [*reversed(one.apps)], "uri": one.url} for one in (BLUE, GREEN)]
    subscription.change(outputs=outputs(SLUICE_BACKEND_POOL=POOL, SLUICE_COLOURS=colours))
    monkeypatch.setattr("infra.delivery.rollout._smoke", lambda url: None)
    new = package(tmp_path, "new")
    monkeypatch.setattr("infra.delivery.rollout._release", lambda url: digest(new)[:12])
    monkeypatch.setattr("infra.delivery.rollout._PAUSE_SECONDS", 0.0)
    arguments = ["auto", "--zip", str(new), "--deployment", "sluice-prod", "--hold-seconds", "0"]
    assert main(arguments) == 0
    assert subscription.weights() == {"blue": 0, "green": 100}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_missing_output_is_named(name: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(AzureFailed, match=name):
        Deployment.from_outputs({key: value for key, value in outputs().items() if key != name})
