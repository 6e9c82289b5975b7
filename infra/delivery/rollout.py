"""Rolls a zip out without downtime, and back where it doesn't hold.

    python3 -m infra.delivery.rollout auto --zip FILE --deployment NAME
    python3 -m infra.delivery.rollout back --to SHA256 --deployment NAME

The deployment's outputs say where. `auto` is blue-green where the gateway has two colours behind it, else rolling.

Rolling: one app after the other, each must index its functions before the next one; then the API must answer as the new
release, three times in a row, and pass the smoke test; anything that fails puts the zip before back on every app that
was changed. Blue-green: the idle colour gets the zip, is tried by its own address, and takes 10, 25, 50 and 100% of the
gateway's traffic, the smoke test between the steps; anything that fails gives the traffic back to the colour before.
`az` must be signed in; `SLUICE_TOKEN` holds a bearer token, or `SLUICE_API_KEY` a key.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .api import Unreachable
from .azure import Azure, AzureFailed, Releases, short_name
from .deployment import Colour, Deployment
from .smoke import signed_in, smoke

__all__ = ["STEPS", "Rollout", "RolloutFailed", "digest", "main"]

STEPS = (10, 25, 50, 100)
"""Per cent of the traffic that the new colour takes, one step after the other."""
_INDEX_SECONDS = 300.0
_ARRIVE_SECONDS = 300.0
_PAUSE_SECONDS = 5.0
_ANSWERS = 3
"""In a row, as the new release: before that, instances of the one before still answer."""


class RolloutFailed(Exception):
    """The zip didn't hold; the text says what was seen, and what runs now."""


@dataclass(frozen=True)
class Rollout:
    """Carries a zip to its apps.

    Parameters
    ----------
    holds:
        The smoke test of an address: None where all is well, else what isn't.
    hold_seconds:
        How long each step of the traffic is watched.
    answers:
        The release that an address says it runs, None where it says none; without it that isn't asked.
    """

    azure: Azure
    releases: Releases
    holds: Callable[[str], str | None]
    say: Callable[[str], None]
    hold_seconds: float = 120.0
    answers: Callable[[str], str | None] | None = None
    sleep: Callable[[float], None] = field(default=time.sleep)

    def rolling(self, package: Path, apps: Sequence[str], url: str) -> None:
        """One app after the other, or none."""
        release = digest(package)
        self.releases.keep(package, release)
        before = {app: self.releases.running(app) for app in apps}
        changed: list[str] = []
        try:
            for app in apps:
                changed.append(app)
                self._install(app, package, release)
            self._arrived(url, release)
            self._expect(url)
        except (AzureFailed, RolloutFailed) as failure:
            raise RolloutFailed(f"{failure}; {self._restore(changed, before)}") from failure

    def back(self, release: str, apps: Sequence[str], url: str) -> None:
        """Put an earlier zip on every app, whatever runs now."""
        package = self.releases.fetch(release)
        if digest(package) != release:
            raise RolloutFailed(f"the zip kept as {release} has another digest: it isn't that one any more")
        for app in apps:
            self._install(app, package, release)
        self._arrived(url, release)
        self._expect(url)

    def blue_green(self, package: Path, pool: str, colours: Sequence[Colour], url: str) -> None:
        """The idle colour takes over step by step; the other one's triggers rest after that, ready to come back."""
        if len(colours) != 2:
            raise ValueError(f"blue-green needs two colours behind the gateway, there are {len(colours)}")
        release = digest(package)
        self.releases.keep(package, release)
        weights = self.azure.weights(pool)
        active, idle = sorted(colours, key=lambda colour: weights.get(colour.backend, 0), reverse=True)
        self.say(f"{active.backend} has the traffic, {idle.backend} gets the zip")
        try:
            for app in idle.apps:
                self.azure.start(app)
                self._install(app, package, release)
            self._arrived(idle.url, release)
            self._expect(idle.url)
            for share in STEPS:
                self.azure.weigh(pool, {idle.backend: share, active.backend: 100 - share})
                self.say(f"{idle.backend} takes {share}% of the traffic")
                self.sleep(self.hold_seconds)
                self._expect(idle.url)
                self._expect(url)
        except (AzureFailed, RolloutFailed) as failure:
            raise RolloutFailed(f"{failure}; {self._give_back(pool, active, idle)}") from failure
        for app in active.apps:
            self.azure.stop(app)
        self.say(f"{active.backend} rests and is ready to come back")

    def _give_back(self, pool: str, active: Colour, idle: Colour) -> str:
        """All traffic to the colour that had it; returns what was done, and what couldn't be."""
        try:
            self.azure.weigh(pool, {idle.backend: 0, active.backend: 100})
            for app in idle.apps:
                self.azure.stop(app)
        except AzureFailed as failure:
            return (
                f"THE TRAFFIC COULD NOT BE GIVEN BACK to {active.backend} whole ({failure}): set the weights of {pool}"
            )
        return f"{active.backend} has all of the traffic again"

    def _install(self, app: str, package: Path, release: str) -> None:
        self.say(f"{app}: {release[:12]} goes on")
        self.azure.install(app, package)
        self.releases.note(app, release)
        waited = 0.0
        while not self.azure.functions(app):
            if waited >= _INDEX_SECONDS:
                raise RolloutFailed(f"{app} has indexed no function after {_INDEX_SECONDS:.0f} s")
            self.sleep(5.0)
            waited += 5.0
        self.say(f"{app}: its functions are there")

    def _arrived(self, url: str, release: str) -> None:
        """Wait until the API answers as this release; instances before it may still answer now and then."""
        if self.answers is None:
            return
        wanted, in_a_row, seen, waited = short_name(release), 0, None, 0.0
        while in_a_row < _ANSWERS:
            found = self.answers(url)
            in_a_row = in_a_row + 1 if found == wanted else 0
            seen = found or seen
            if waited >= _ARRIVE_SECONDS and not in_a_row:
                if seen is None:  # a release from before health told it
                    self.say(f"{url} tells no release: whether {wanted} answers isn't known")
                    return
                raise RolloutFailed(f"{url} still answers as {seen} after {_ARRIVE_SECONDS:.0f} s, not as {wanted}")
            self.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS
        self.say(f"{url} answers as {wanted}")

    def _expect(self, url: str) -> None:
        problem = self.holds(url)
        if problem is not None:
            raise RolloutFailed(f"{url}: {problem}")

    def _restore(self, changed: Sequence[str], before: dict[str, str | None]) -> str:
        """Put back what ran before, the last app first; returns what was done, and what couldn't be."""
        told = []
        for app in reversed(changed):
            release = before[app]
            if release is None:
                told.append(f"{app} had no release before and keeps the new one")
                continue
            try:
                self._install(app, self.releases.fetch(release), release)
                told.append(f"{app} runs {release[:12]} again")
            except (AzureFailed, RolloutFailed) as failure:
                told.append(f"{app} COULD NOT BE PUT BACK ({failure}): run `rollout back --to {release}`")
        return "; ".join(told)


def digest(package: Path) -> str:
    """SHA-256 of a zip, in hex.

    Raises
    ------
    ValueError
        It isn't a readable zip with the app in it.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            broken = archive.testzip()
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{package} is not a zip: {error}") from None
    if broken is not None or not {"function_app.py", "host.json"} <= names:
        raise ValueError(f"{package} is not a package of the app: build it with `python3 dev.py package`")
    with package.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _smoke(url: str) -> str | None:
    for found in smoke(signed_in(url), timeout=180.0):
        print(f"  {'ok    ' if found.passed else 'FAILED'} {found.check}: {found.seen}", flush=True)  # noqa: T201
        if not found.passed:
            return f"{found.check}: {found.seen}"
    return None


def _release(url: str) -> str | None:
    try:
        found = signed_in(url).anonymous().call("GET", "api/health").json()
    except Unreachable:
        return None
    release = found.get("release") if isinstance(found, dict) else None
    return release if isinstance(release, str) else None


def main(arguments: Sequence[str]) -> int:
    """0 if the new zip runs, 1 if it doesn't, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="rollout", description=(__doc__ or "").split("\n", 1)[0])
    ways = parser.add_subparsers(dest="how", required=True)
    auto = ways.add_parser("auto", help="bring a zip to every app")
    auto.add_argument("--zip", required=True, type=Path, help="built by `python3 dev.py package`")
    auto.add_argument("--hold-seconds", type=float, default=120.0, help="watch each step of the traffic for so long")
    back = ways.add_parser("back", help="go back to a zip that was rolled out before")
    back.add_argument("--to", required=True, metavar="SHA256", help="its digest")
    for way in (auto, back):
        way.add_argument("--deployment", required=True, metavar="NAME", help="whose outputs say where, as sluice-dev")
    given = parser.parse_args(arguments)
    try:
        deployment = Deployment.read(given.deployment)
        rollout = Rollout(
            Azure(deployment.resource_group),
            Releases(deployment.releases),
            _smoke,
            lambda text: print(text, flush=True),  # noqa: T201
            hold_seconds=getattr(given, "hold_seconds", 0.0),
            answers=_release,
        )
        if given.how == "back":
            rollout.back(given.to, deployment.apps, deployment.url)
        elif deployment.pool is not None:
            rollout.blue_green(given.zip, deployment.pool, deployment.colours, deployment.url)
        else:
            rollout.rolling(given.zip, deployment.apps, deployment.url)
    except ValueError as error:
        parser.error(str(error))
    except (RolloutFailed, AzureFailed) as failure:
        print(f"FAILED {failure}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
