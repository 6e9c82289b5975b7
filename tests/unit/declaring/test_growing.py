"""One module and one line: Bicep, doctor, emulator and gateway follow, or one line says what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local.app import describe, sample_environment
from local.bicep import Deployment, deploy, read_parameters
from local.declaring import declared_files
from local.doctor import examine, read_facts
from local.doctor.readers.app import CONSTANTS
from local_azure.broker.config import Namespace, read_config
from tests.unit.project_copy import copy_project

HEAD = '''"""Parcels: what a test adds."""

from typing import Any, List

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.composition.capability import Capability
from functions.composition.composition import Composition
from functions.composition.declaring import Access, Need, Queue, Table
from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.authentication import Role
from shared.environment import QueueName, SettingsSlice
from shared.http import Route
from shared.jobs import Job, parse_schedule


class SETTINGS(SettingsSlice):
    """Settings of parcels."""

    parcels_queue: QueueName = Field("parcel-queue", alias="SLUICE_PARCELS_QUEUE")


async def parcels(messages: List[Any]) -> None:
    """Take parcels."""


async def trace(events: List[Any]) -> None:
    """Follow events."""


async def count(timer: Any) -> None:
    """Count parcels."""


async def tidy(_: Any) -> None:
    """Tidy up."""


async def answer(_: Request) -> Response:
    """Answer nothing."""
    return JSONResponse({})


async def alive() -> None:
    """Is there."""


def capability(_: Composition) -> Capability:
    """The capability."""
    return Capability(name="parcels", '''


@dataclass(frozen=True)
class Grown:
    """A copy of the project that has a capability more, and what became of each reader."""

    project: Path
    production: Deployment
    emulator: Namespace
    openapi: dict[str, Any]
    declared: dict[str, Any]

    def switches(self, function: str) -> dict[str, str]:
        """App → whether the function is disabled there."""
        return {
            site.get("tags")["azd-service-name"]: setting["value"]
            for site in self.production.of_type("Microsoft.Web/sites")
            for setting in site.get("properties.siteConfig.appSettings")
            if setting["name"] == f"AzureWebJobs.{function}.Disabled"
        }

    def roles(self, resource: str) -> set[str]:
        """What the roles on a resource are for."""
        return {
            str(one.properties["description"])
            for one in self.production.of_type("Microsoft.Authorization/roleAssignments")
            if f"/{resource}]" in str(one.scope)
        }


@pytest.fixture
def copied(project: Path, tmp_path: Path) -> Path:
    """The project, to be changed."""
    copy = tmp_path / "project"
    copy_project(project, copy)
    return copy


def add(copy: Path, offered: str, *, module: str = "parcels") -> None:
    """One module and one line."""
    composition = copy / "functions" / "composition"
    (composition / f"{module}.py").write_text(f"{HEAD}{offered})\n")
    listed = composition / "capabilities.py"
    text = listed.read_text()
    assert '    "ingestion",\n' in text
    listed.write_text(text.replace('    "ingestion",\n', f'    "ingestion",\n    "{module}",\n'))


@pytest.fixture
def grow(copied: Path) -> Callable[[str], Grown]:
    """Adds a capability, declares, and lets everybody read."""

    def grown(offered: str) -> Grown:
        add(copied, offered)
        app = describe(copied, sample_environment(copied), constants=CONSTANTS, declared=True)
        for one in declared_files(app, copied):
            (copied / one.path).parent.mkdir(exist_ok=True)
            (copied / one.path).write_text(one.text)
        assert [one.message for one in examine(read_facts(copied, app))] == []
        infra = copied / "infra"
        return Grown(
            project=copied,
            production=deploy(infra / "main.bicep", read_parameters(infra / "params" / "prod.bicepparam", {})),
            emulator=read_config(copied / "local" / "config" / f"{name}.json" for name in ("servicebus", "eventhubs")),
            openapi=json.loads((infra / "openapi.json").read_text()),
            declared=json.loads((infra / "declarations.json").read_text()),
        )

    return grown


def test_a_timer(grow: Callable[[str], Grown]) -> None:
    """It runs in one app."""
    grown = grow('functions=[Function(call=count, trigger=TimerTrigger(schedule="0 0 3 * * *"), app=AppName.STREAMS)]')
    assert {app for app, disabled in grown.switches("count").items() if disabled == "false"} == {"streams"}


def test_a_job(grow: Callable[[str], Grown]) -> None:
    """It needs no function of its own."""
    grown = grow('jobs=[Job(name="tidy", app=AppName.STREAMS, schedule=parse_schedule("5m"), call=tidy)]')
    assert {"name": "tidy", "app": "streams", "schedule": "5m", "of": "parcels"} in grown.declared["jobs"]
    assert grown.switches("tidy") == {}


def test_a_route(grow: Callable[[str], Grown]) -> None:
    """The gateway knows it, who may call it, and the API's app gets the role for what it reads."""
    grown = grow(
        'routes=[Route(method="GET", path="parcels/{key}", endpoint=answer, access=frozenset({Role.READER}))],\n'
        'needs=[Need(access=Access.READ, to=Table(name="parcels"), why="Answers with parcels.")],\n'
        'resources=[Table(name="parcels")]'
    )
    assert list(grown.openapi["paths"]["/api/parcels/{key}"]) == ["get"]
    (route,) = [one for one in grown.declared["routes"] if one["of"] == "parcels"]
    assert route["callers"] == ["reader"]
    assert re.search(grown.declared["openPaths"], "/api/parcels/x") is None
    (imported,) = grown.production.of_type("Microsoft.ApiManagement/service/apis")
    assert "/api/parcels/{key}" in str(imported.properties["value"])
    assert grown.roles("parcels") == {"Answers with parcels."}
    tables = {one.name for one in grown.production.of_type("Microsoft.Storage/storageAccounts/tableServices/tables")}
    assert any(name.endswith("/parcels") for name in tables)


def test_a_route_that_checks_a_signature(grow: Callable[[str], Grown]) -> None:
    """The gateway asks for no token there."""
    grown = grow(
        'routes=[Route(method="POST", path="hooks/{source}", endpoint=answer, access=None, scheme="signature")]'
    )
    assert re.search(grown.declared["openPaths"], "/api/hooks/carrier")
    assert re.search(grown.declared["openPaths"], "/api/hooks/carrier/more") is None
    callers = [
        str(one.properties["value"])
        for one in grown.production.of_type("Microsoft.ApiManagement/service/policyFragments")
        if one.name.endswith("/sluice-callers")
    ]
    assert len(callers) == 1


def test_a_probe(grow: Callable[[str], Grown]) -> None:
    grown = grow('probes={"parcels": alive}')
    assert {"component": "parcels", "of": "parcels"} in grown.declared["probes"]


def test_an_event_consumer(grow: Callable[[str], Grown]) -> None:
    """Its consumer group is there on a laptop and in Azure."""
    grown = grow(
        'functions=[Function(call=trace, trigger=HubTrigger(hub="%SLUICE_EVENT_HUB%", group="parcels"), '
        "app=AppName.STREAMS)]"
    )
    groups = grown.production.of_type("Microsoft.EventHub/namespaces/eventhubs/consumergroups")
    assert {one.name.rsplit("/", 1)[-1] for one in groups} == {"read-models", "parcels"}
    assert {group.name for hub in grown.emulator.event_hubs for group in hub.consumer_groups} >= {"parcels"}
    assert {app for app, disabled in grown.switches("trace").items() if disabled == "false"} == {"streams"}


def test_a_queue(grow: Callable[[str], Grown]) -> None:
    """With its lock, its deliveries and the role of the app that reads it."""
    grown = grow(
        'resources=[Queue(name="parcels", lock="PT1M", deliveries=20)],\n'
        'functions=[Function(call=parcels, trigger=QueueTrigger(queue="parcels"), app=AppName.BULK)]'
    )
    (queue,) = [
        one
        for one in grown.production.of_type("Microsoft.ServiceBus/namespaces/queues")
        if one.name.endswith("/parcels")
    ]
    assert (queue.properties["lockDuration"], queue.properties["maxDeliveryCount"]) == ("PT1M", 20)
    assert grown.roles("parcels") == {"Takes the messages of this queue."}
    assert "parcels" in {one.name for one in grown.emulator.queues}


def test_a_queue_with_a_setting_of_its_own(grow: Callable[[str], Grown]) -> None:
    """The slice of the settings is in the module too; every app is told the name."""
    grown = grow(
        'resources=[Queue(name="%SLUICE_PARCELS_QUEUE%")],\n'
        'functions=[Function(call=parcels, trigger=QueueTrigger(queue="%SLUICE_PARCELS_QUEUE%"), app=AppName.BULK)],\n'
        "settings=SETTINGS.variables()"
    )
    assert "parcel-queue" in {one.name for one in grown.emulator.queues}
    assert grown.declared["entitySettings"]["SLUICE_PARCELS_QUEUE"] == "parcel-queue"
    told = {
        setting["value"]
        for site in grown.production.of_type("Microsoft.Web/sites")
        for setting in site.get("properties.siteConfig.appSettings")
        if setting["name"] == "SLUICE_PARCELS_QUEUE"
    }
    assert told == {"parcel-queue"}


BAD = [
    (
        'functions=[Function(call=parcels, trigger=QueueTrigger(queue="parcls"), app=AppName.BULK)]',
        "parcels of parcels reads the queue parcls, which nobody declares",
    ),
    (
        'jobs=[Job(name="tidy", app=AppName.STREAMS, schedule=parse_schedule("now and then"), call=tidy)]',
        "now and then",
    ),
    (
        'routes=[Route(method="POST", path="messages", endpoint=answer, access=frozenset({Role.READER}))]',
        "the route POST /api/messages is claimed by ingestion and by parcels",
    ),
    ('resources=[Queue(name="parcels", lock="PT10M")]', "the lock of the queue parcels is PT10M: use PT5S to PT5M"),
]


@pytest.mark.parametrize(("offered", "said"), BAD, ids=["unknown queue", "schedule", "two owners", "refused by Azure"])
def test_a_bad_declaration_is_one_clear_line_everywhere(copied: Path, offered: str, said: str) -> None:
    """At the start, where it is declared, and in the doctor."""
    add(copied, offered)
    environment = sample_environment(copied)
    start = _run(["-c", "import function_app"], cwd=copied, environment=environment)
    assert start.returncode != 0
    assert sum(said in line for line in start.stderr.splitlines()) >= 1
    assert said in start.stderr.strip().splitlines()[-1]
    _is_one_line(_run(["-m", "local.declaring", "--check", "--project", str(copied)]), said)
    _is_one_line(_run(["-m", "local.doctor", "--project", str(copied)]), said)


def test_a_handler_without_a_model_is_one_clear_line_everywhere(copied: Path) -> None:
    """The same of an integration."""
    (copied / "integrations" / "parcels.py").write_text(
        "from shared.messages import Integration\n\n"
        'parcels = Integration("parcels")\n\n\n'
        '@parcels.handles("parcel.scanned", key="parcelId")\n'
        "async def scan(parcel, work) -> None: ...\n"
    )
    said = "parcels.scan: annotate the first parameter with a pydantic model"
    start = _run(["-c", "import function_app"], cwd=copied, environment=sample_environment(copied))
    assert said in start.stderr.strip().splitlines()[-1]
    _is_one_line(_run(["-m", "local.declaring", "--check", "--project", str(copied)]), said)
    _is_one_line(_run(["-m", "local.doctor", "--project", str(copied)]), said)


def _run(
    arguments: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _is_one_line(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert said in done.stderr


def test_what_is_checked_in_is_what_the_code_says(project: Path) -> None:
    """And a stale file is named."""
    app = describe(project, sample_environment(project), declared=True)
    files = declared_files(app, project)
    assert [one.path for one in files if (project / one.path).read_text() != one.text] == []
    other = replace(app, declarations={**app.declarations, "containers": []})
    changed = [
        one.path for one, before in zip(declared_files(other, project), files, strict=True) if one.text != before.text
    ]
    assert changed == ["infra/declarations.json", "docs/what-the-app-consists-of.md"]
