"""Reads the whole project into facts; what can't be read is a fact too."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from local.app import AppDescription, AppNotLoaded, describe, sample_environment
from local.doctor.facts import App, Deployment, Facts, Place, Unreadable
from local.doctor.readers.app import CONSTANTS, needs_of, triggers_of
from local.doctor.readers.emulator import EVENT_HUBS, SERVICE_BUS, hubs_of, queues_of
from local.doctor.readers.infrastructure import MAIN, deployments_of
from local.packaging import PackageError, deployed_files
from local_azure.host.errors import HostError
from local_azure.host.host_json import HostOptions, load_host_json

__all__ = ["CannotExamine", "read_app", "read_facts"]

SAMPLE = "local.settings.sample.json"
_SOURCES = ("functions/*.py", "host.json", SAMPLE, "requirements.in", "requirements.txt", "local/config/*.json")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)")

T = TypeVar("T")


class CannotExamine(Exception):
    """The app can't even be imported, so there is nothing to compare; the message says why."""


def read_app(project: Path) -> AppDescription:
    """Import the app in a process of its own.

    Raises
    ------
    CannotExamine
        It can't be imported.
    """
    try:
        return describe(project, sample_environment(project), constants=CONSTANTS, declared=True)
    except AppNotLoaded as error:
        raise CannotExamine(str(error)) from None


def read_facts(project: Path, app: AppDescription | None = None) -> Facts:
    """Read everything; `app` is what `read_app` gave, where it is known already.

    Raises
    ------
    CannotExamine
        The app can't be imported.
    """
    return _Reader(project, app or read_app(project)).facts()


class _Reader:
    """Reads one source after the other and notes what can't be read."""

    def __init__(self, project: Path, app: AppDescription) -> None:
        self._project = project
        self._app = app
        self._unreadable: list[Unreadable] = []

    def facts(self) -> Facts:
        project = self._project
        nothing: dict[str, Any] = {}
        host = self._tried("host.json", lambda: _json_object(project / "host.json"), nothing)
        deployments = [self._local()]
        if (project / MAIN).exists():
            deployments += deployments_of(project, self._host_of, self._unreadable.append)
        pinned = self._tried("requirements.txt", lambda: _names(project / "requirements.txt"), frozenset[str]())
        azure_yaml = project / "azure.yaml"
        return Facts(
            triggers=triggers_of(self._app),
            settings={one.name: one for one in self._app.settings},
            constants=self._app.constants,
            deployments=deployments,
            host=host,
            packaged=self._packaged(),
            pinned=pinned,
            required=self._tried("requirements.in", lambda: _names(project / "requirements.in"), frozenset[str]()),
            pythons=self._tried("pyproject.toml", lambda: _pythons(project), ()),
            needs=needs_of(self._app),
            azure_yaml=azure_yaml.read_text(encoding="utf-8") if azure_yaml.exists() else None,
            sources={
                path.relative_to(project).as_posix(): path.read_text(encoding="utf-8", errors="replace")
                for pattern in _SOURCES
                for path in sorted(project.glob(pattern))
            },
            unreadable=self._unreadable,
        )

    def _local(self) -> Deployment:
        nothing: dict[str, str] = {}
        settings = self._tried(SAMPLE, lambda: _values(self._project / SAMPLE), nothing)
        return Deployment(
            name="local",
            azure=False,
            queues=self._tried(SERVICE_BUS, lambda: queues_of(self._project), {}),
            hubs=self._tried(EVENT_HUBS, lambda: hubs_of(self._project), {}),
            apps=[App(name="app", place=Place(SAMPLE), settings=settings, host=self._host_of(settings))],
        )

    def _host_of(self, settings: dict[str, str]) -> HostOptions:
        """host.json as an app with these settings has it."""
        return self._tried("host.json", lambda: load_host_json(self._project / "host.json", settings), HostOptions())

    def _packaged(self) -> list[str]:
        return self._tried(".funcignore", lambda: deployed_files(self._project, allow_dirty=True), [])

    def _tried(self, file: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, HostError, PackageError) as error:
            reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
            noted = Unreadable(Place(file), reason.replace(f"{self._project}/", ""))
            if noted not in self._unreadable:
                self._unreadable.append(noted)
            return otherwise


def _json_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content


def _values(path: Path) -> dict[str, str]:
    return {str(name): str(value) for name, value in _json_object(path)["Values"].items()}


def _names(path: Path) -> frozenset[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = (_PINNED.match(line) for line in lines)
    return frozenset(re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match)


def _pythons(project: Path) -> tuple[str, ...]:
    """The versions within requires-python, as `>=3.11,<3.15` states them."""
    stated = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    match = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", stated.replace(" ", ""))
    if match is None:
        raise ValueError(f"requires-python is {stated!r}, not like >=3.11,<3.15")
    return tuple(f"3.{minor}" for minor in range(int(match[1]), int(match[2])))
