"""Plays two rollouts with a deployment of the infrastructure between them: the second one fails and goes back."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra.delivery.azure import Azure, AzureFailed, Releases
from infra.delivery.rollout import Rollout, RolloutFailed, digest

from .cloud import PRINCIPAL
from .plan import Plan
from .rows import Finding, Row

__all__ = ["roll_back"]

_STEP = "rollback"
_CONTAINER = "Microsoft.Storage/storageAccounts/blobServices/containers"
_WRITES_BLOBS = ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "ba92f5b4-2d11-453d-a403-e96b0029c9fe")


@dataclass(frozen=True)
class _Apps(Azure):
    """Apps that take every zip; each keeps what it runs where a deployment of the infrastructure doesn't write."""

    runs: dict[str, bytes] = field(default_factory=dict)

    def install(self, app: str, package: Path) -> None:
        self.runs[app] = package.read_bytes()

    def functions(self, app: str) -> list[str]:
        return ["lane_high"] if app in self.runs else []


@dataclass(frozen=True)
class _Releases(Releases):
    """The container of releases, if the plan has it and lets who deploys write there."""

    problem: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)

    def keep(self, package: Path, release: str) -> None:
        self._look()
        self.blobs.setdefault(release, package.read_bytes())

    def fetch(self, release: str) -> Path:
        self._look()
        if release not in self.blobs:
            raise AzureFailed(f"(BlobNotFound) The specified blob does not exist: {release}.zip")
        file = Path(tempfile.mkdtemp(prefix="sluice-rehearsal-")) / "release.zip"
        file.write_bytes(self.blobs[release])
        return file

    def running(self, app: str) -> str | None:
        self._look()
        note = self.blobs.get(f"running/{app}")
        return note.decode() if note is not None else None

    def note(self, app: str, release: str) -> None:
        self._look()
        self.blobs[f"running/{app}"] = release.encode()

    def _look(self) -> None:
        if self.problem:
            raise AzureFailed(self.problem)


def roll_back(plan: Plan) -> Iterator[Row]:
    """A zip that holds, the infrastructure again, a zip that doesn't: the first one runs everywhere at the end."""
    apps = [one.resource.name for one in plan.resources("Microsoft.Web/sites")]
    azure, releases = _Apps("rg"), _Releases("releases", problem=_not_kept(plan))
    verdicts: list[str | None] = [None, "an order isn't processed"]
    rollout = Rollout(azure, releases, lambda _: verdicts.pop(0), lambda _: None, sleep=lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        good, bad = (_package(Path(folder), text) for text in ("good", "bad"))
        try:
            rollout.rolling(good, apps, "https://api")
            rollout.rolling(bad, apps, "https://api")
        except (AzureFailed, RolloutFailed) as failure:
            told = str(failure)
        left = sorted(app for app in apps if azure.runs.get(app) != good.read_bytes())
        wanted = digest(good)
    if left or any(releases.blobs.get(f"running/{app}") != wanted.encode() for app in apps):
        why = Finding(
            _STEP, "broken", f"{', '.join(left) or 'the notes'} isn't put back: {told}", "Keep the container releases."
        )
        yield Row(_STEP, f"{len(left)} of {len(apps)} apps", "doesn't work", findings=(why,))
    else:
        yield Row(_STEP, f"{len(apps)} apps", "run the zip before again, after a deployment of the infrastructure")


def _not_kept(plan: Plan) -> str:
    kept = [one for one in plan.resources(_CONTAINER) if one.resource.name.endswith("/releases")]
    if not kept:
        return "(ContainerNotFound) The specified container does not exist: releases"
    for one in plan.resources("Microsoft.Authorization/roleAssignments"):
        given = one.resource.properties
        writes = str(given.get("roleDefinitionId")).endswith(_WRITES_BLOBS)
        if writes and plan.seen(one.resource.scope) is kept[0] and given.get("principalId") == PRINCIPAL:
            return ""
    return "(AuthorizationPermissionMismatch) This request is not authorized to write to the container releases"


def _package(folder: Path, text: str) -> Path:
    file = folder / f"{text}.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("function_app.py", text)
        archive.writestr("host.json", "{}")
    return file
