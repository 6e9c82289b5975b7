"""What a rollout asks of Azure, through the `az` command of the pipeline's own login: no key, no package."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Azure", "AzureFailed", "Releases", "short_name"]

_API_MANAGEMENT = "2024-05-01"


def short_name(release: str) -> str:
    """What a release is called where people and health tell of it: the beginning of its zip's SHA-256."""
    return release[:12]


class AzureFailed(Exception):
    """`az` refused or took too long; the text is its last line, which says why."""


def az(arguments: Sequence[str], *, timeout: float) -> Any:
    """Run one `az` command and read its JSON answer; None where it prints nothing."""
    program = shutil.which("az")
    if program is None:
        raise AzureFailed("the Azure CLI (az) is not installed")
    command = [program, *arguments, "--only-show-errors", "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise AzureFailed(f"az {' '.join(arguments[:3])} gave no answer within {timeout:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise AzureFailed(f"az {' '.join(arguments[:3])}: {said[-1][:500]}")
    try:
        return json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError:
        raise AzureFailed(f"az {' '.join(arguments[:3])} didn't answer in JSON") from None


@dataclass(frozen=True)
class Azure:
    """The apps of one resource group, and the backend pool of the gateway before them.

    Parameters
    ----------
    timeout:
        Seconds for one command; a deployment of a zip takes the longest.
    """

    resource_group: str
    timeout: float = 900.0

    def install(self, app: str, package: Path) -> None:
        """Put the zip on the app, and then its name, which the app's health tells.

        Flex Consumption replaces instances one by one and tells no end. An instance that knows the name began after the
        zip was there.
        """
        source = ("--src", str(package), "--build-remote", "false")  # what was tested is what runs
        self._az("functionapp", "deployment", "source", "config-zip", "--name", app, *source)
        with package.open("rb") as file:
            release = short_name(hashlib.file_digest(file, "sha256").hexdigest())
        self._az(
            "functionapp", "config", "appsettings", "set", "--name", app, "--settings", f"SLUICE_RELEASE={release}"
        )

    def functions(self, app: str) -> list[str]:
        """Names of the functions that the app has indexed: none where the code doesn't start."""
        found = self._az("functionapp", "function", "list", "--name", app)
        return [str(one["name"]).rpartition("/")[2] for one in found or []]

    def start(self, app: str) -> None:
        """Have the app's triggers run."""
        self._az("functionapp", "start", "--name", app)

    def stop(self, app: str) -> None:
        """Have the app's triggers rest; what it was doing is delivered to others."""
        self._az("functionapp", "stop", "--name", app)

    def weights(self, pool: str) -> dict[str, int]:
        """Weights of a gateway's backend pool, by the name of the backend. `pool` is the pool's resource id."""
        return {_name(one["id"]): int(one.get("weight", 1)) for one in self._services(pool)}

    def weigh(self, pool: str, weights: Mapping[str, int]) -> None:
        """Set the weights of a backend pool; a backend that isn't named keeps its own."""
        services = [
            {**one, "weight": weights.get(_name(one["id"]), one.get("weight", 1))} for one in self._services(pool)
        ]
        body = json.dumps({"properties": {"type": "Pool", "pool": {"services": services}}})
        url = f"{pool}?api-version={_API_MANAGEMENT}"
        az(["rest", "--method", "patch", "--url", url, "--headers", "If-Match=*", "--body", body], timeout=self.timeout)

    def _services(self, pool: str) -> list[dict[str, Any]]:
        found = az(["rest", "--method", "get", "--url", f"{pool}?api-version={_API_MANAGEMENT}"], timeout=self.timeout)
        try:
            services: list[dict[str, Any]] = found["properties"]["pool"]["services"]
        except (KeyError, TypeError):
            raise AzureFailed(f"{pool} is not a backend pool") from None
        return services

    def _az(self, *arguments: str) -> Any:
        return az([*arguments, "--resource-group", self.resource_group], timeout=self.timeout)


@dataclass(frozen=True)
class Releases:
    """Every zip that was ever rolled out, by its SHA-256, in a blob container: what a rollback takes its zip from.

    Beside them a note for each app, `running/<app>`: which zip it runs. A tag of the app would not do, since every
    deployment of the infrastructure writes the tags anew.
    """

    account: str
    container: str = "releases"
    timeout: float = 300.0

    def keep(self, package: Path, release: str) -> None:
        """Keep a zip; one that is there already is left as it is."""
        name = f"{release}.zip"
        if not self._is_there(name):
            self._blob("upload", name, package)

    def fetch(self, release: str) -> Path:
        """A zip that was kept, as a file."""
        path = Path(tempfile.mkdtemp(prefix="sluice-release-")) / f"{release}.zip"
        self._blob("download", path.name, path)
        return path

    def running(self, app: str) -> str | None:
        """SHA-256 of the zip that the app runs, as the rollout noted it; None before the first one."""
        name = f"running/{app}"
        if not self._is_there(name):
            return None
        path = Path(tempfile.mkdtemp(prefix="sluice-running-")) / "note"
        self._blob("download", name, path)
        return path.read_text(encoding="ascii").strip()

    def note(self, app: str, release: str) -> None:
        """Note which zip the app runs."""
        path = Path(tempfile.mkdtemp(prefix="sluice-running-")) / "note"
        path.write_text(release, encoding="ascii")
        self._blob("upload", f"running/{app}", path, "--overwrite")

    def _is_there(self, name: str) -> bool:
        found = az(["storage", "blob", "exists", *self._where(), "--name", name], timeout=self.timeout)
        return bool((found or {}).get("exists"))

    def _blob(self, verb: str, name: str, file: Path, *options: str) -> None:
        command = ["storage", "blob", verb, *self._where(), "--name", name, "--file", str(file), *options]
        az(command, timeout=self.timeout)

    def _where(self) -> list[str]:
        return ["--account-name", self.account, "--container-name", self.container, "--auth-mode", "login"]


def _name(resource_id: str) -> str:
    return resource_id.rpartition("/")[2]
