"""One module and one line: Bicep, doctor, emulator and gateway follow, or one line says what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.app import describe, sample_environment
from local.bicep import Deployment, Resource, deploy, read_parameters
from local.declaring import declared_files
from local.doctor import examine, read_facts
from local.doctor.readers.app import CONSTANTS
from local_azure.broker.config import Namespace, read_config
from local_azure.broker.entities import SqlFilter
from tests.unit.project_copy import copy_project

HEAD = '''"""A module that a test adds."""

from typing import Any, List

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.composition.capability import Capability
from functions.composition.composition import Composition
from functions.composition.declaring import Access, Need, Queue, Subscription, Table, Topic
from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.authentication import Role
from shared.environment import QueueName, SettingsSlice
from shared.http import Route
from shared.jobs import Job, parse_schedule


async def take(messages: List[Any]) -> None:
    """Take messages."""


async def follow(events: List[Any]) -> None:
    """Follow events."""


async def tick(timer: Any) -> None:
    """Run by the clock."""


for one in (take, follow, tick):
    one.__name__ += "_MODULE"


async def answer(_: Request) -> Response:
    """Answer nothing."""
    return JSONResponse({})


async def alive() -> None:
    """Is there."""


'''
FOOT = '''
def capability(_: Composition) -> Capability:
    """The capability."""
    return Capability(
        name="MODULE",
        OFFERED
    )
'''
SLICE = '''
class SETTINGS(SettingsSlice):
    """Settings of it."""

    queue: QueueName = Field("parcel-queue", alias="SLUICE_PARCELS_QUEUE")


'''
MODULES = {
    "timer": 'functions=[Function(call=tick, trigger=TimerTrigger(schedule="0 0 3 * * *"), app=AppName.STREAMS)]',
    "job": 'jobs=[Job(name="tidy", app=AppName.STREAMS, schedule=parse_schedule("5m"), call=tick)]',
    "route": 'routes=[Route(method="GET", path="parcels/{key}", endpoint=answer, access=frozenset({Role.READER}))],\n'
    'needs=[Need(access=Access.READ, to=Table(name="parcels"), why="Answers with parcels.")],\n'
    'resources=[Table(name="parcels")]',
    "hooks": 'routes=[Route(method="POST", path="hooks/{source}", endpoint=answer, access=None, scheme="signature")]',
    "stream": 'routes=[Route(method="GET", path="watch/{key}", endpoint=answer, access=frozenset({Role.READER}), '
    "streams=True, described=False)]",
    "probe": 'probes={"parcels": alive}',
    "consumer": 'functions=[Function(call=follow, trigger=HubTrigger(hub="%SLUICE_EVENT_HUB%", group="parcels"), '
    "app=AppName.STREAMS)]",
    "queue": 'resources=[Queue(name="parcels", lock="PT1M", deliveries=20)], drained=["parcels"],\n'
    'needs=[Need(access=Access.RECEIVE, to=Queue(name="parcels"), why="Drains its dead letters.")],\n'
    'functions=[Function(call=take, trigger=QueueTrigger(queue="parcels"), app=AppName.BULK)]',
    "topic": "resources=[Topic(name='scans', time_to_live='P2D', subscriptions=(Subscription(name='late', "
    "forward_to='%SLUICE_LANE_LOW%', where=\"eventType LIKE 'order.%' AND late IS NOT NULL\", time_to_live='P1D', "
    "deliveries=3),))],\n"
    "functions=[Function(call=tick, trigger=TimerTrigger(schedule='0 0 3 * * *'), app=AppName.STREAMS)],\n"
    "needs=[Need(access=Access.SEND, to=Topic(name='scans'), why='Tells of scans.')]",
    "setting": 'resources=[Queue(name="%SLUICE_PARCELS_QUEUE%")], drained=["%SLUICE_PARCELS_QUEUE%"],\n'
    'needs=[Need(access=Access.RECEIVE, to=Queue(name="%SLUICE_PARCELS_QUEUE%"), why="Drains its dead letters.")],\n'
    'functions=[Function(call=take, trigger=QueueTrigger(queue="%SLUICE_PARCELS_QUEUE%"), app=AppName.BULK)],\n'
    "settings=SETTINGS.variables()",
}
"""What each added module offers; each is one module and one line."""
NOTICES = '''"""An integration that a test adds."""

from shared.messages import Integration

notices = Integration("notices")
notices.notifies("order.accepted")
'''


@dataclass(frozen=True)
class Grown:
    """What readers know of a copy of the project that has some capabilities more."""

    infra: Path
    findings: list[str]
    production: Deployment
    emulator: Namespace
    openapi: dict[str, Any]
    declared: dict[str, Any]

    def settings(self, name: str) -> set[tuple[str, str]]:
        """App and value, where a setting is set."""
        return {
            (site.get("tags")["azd-service-name"], setting["value"])
            for site in self.production.of_type("Microsoft.Web/sites")
            for setting in site.get("properties.siteConfig.appSettings")
            if setting["name"] == name
        }

    def runs_in(self, function: str) -> set[str]:
        """The apps that a function isn't switched off in."""
        return {app for app, disabled in self.settings(f"AzureWebJobs.{function}.Disabled") if disabled == "false"}

    def roles(self, resource: str) -> set[str]:
        """What the roles on a resource are for."""
        return {
            str(one.properties["description"])
            for one in self.production.of_type("Microsoft.Authorization/roleAssignments")
            if f"/{resource}]" in str(one.scope)
        }


def add(copy: Path, module: str, offered: str) -> None:
    """One module and one line."""
    composition = copy / "functions" / "composition"
    text = HEAD + (SLICE if "SETTINGS" in offered else "") + FOOT
    (composition / f"{module}.py").write_text(text.replace("MODULE", module).replace("OFFERED", offered))
    listed = composition / "capabilities.py"
    lines = listed.read_text()
    assert '    "ingestion",\n' in lines
    listed.write_text(lines.replace('    "ingestion",\n', f'    "ingestion",\n    "{module}",\n'))


@pytest.fixture(scope="module")
def grown(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """The project with all of the modules, declared, and read by everybody."""
    copy = tmp_path_factory.mktemp("grown") / "project"
    copy_project(project, copy)
    for module, offered in MODULES.items():
        add(copy, module, offered)
    (copy / "integrations" / "notices.py").write_text(NOTICES)
    with (copy / "infra" / "params" / "prod.bicepparam").open("a") as parameters:
        parameters.write("\nparam notifications = true\n")
    app = describe(copy, sample_environment(copy), constants=CONSTANTS, declared=True)
    for one in declared_files(app, copy):
        (copy / one.path).parent.mkdir(exist_ok=True)
        (copy / one.path).write_text(one.text)
    infra = copy / "infra"
    return Grown(
        infra=infra,
        findings=[one.message for one in examine(read_facts(copy, app))],
        production=deploy(infra / "main.bicep", read_parameters(infra / "params" / "prod.bicepparam", {})),
        emulator=read_config(copy / "local" / "config" / f"{name}.json" for name in ("servicebus", "eventhubs")),
        openapi=json.loads((infra / "openapi.json").read_text()),
        declared=json.loads((infra / "declarations.json").read_text()),
    )


@pytest.fixture
def copied(project: Path, tmp_path: Path) -> Path:
    """The project, to be changed."""
    copy = tmp_path / "project"
    copy_project(project, copy)
    return copy


def test_the_doctor_follows(grown: Grown) -> None:
    """Every function has its queue, group, role, setting and one app, on a laptop and in production."""
    assert grown.findings == []


def test_a_timer(grown: Grown) -> None:
    """It runs in one app."""
    assert grown.runs_in("tick_timer") == {"streams"}


def test_a_job(grown: Grown) -> None:
    """It needs no function of its own."""
    assert {"name": "tidy", "app": "streams", "schedule": "5m", "of": "job"} in grown.declared["jobs"]
    assert grown.runs_in("tick_job") == set()


def test_a_route(grown: Grown) -> None:
    """The gateway knows it, who may call it, and the API's app gets the role for what it reads."""
    assert list(grown.openapi["paths"]["/api/parcels/{key}"]) == ["get"]
    (route,) = [one for one in grown.declared["routes"] if one["of"] == "route"]
    assert route["callers"] == ["reader"]
    assert re.search(grown.declared["openRoutes"], "GET /api/parcels/x") is None
    (imported,) = grown.production.of_type("Microsoft.ApiManagement/service/apis")
    assert "/api/parcels/{key}" in str(imported.properties["value"])
    assert "Answers with parcels." in grown.roles("parcels")
    tables = {one.name for one in grown.production.of_type("Microsoft.Storage/storageAccounts/tableServices/tables")}
    assert any(name.endswith("/parcels") for name in tables)


def test_a_route_that_checks_a_signature(grown: Grown) -> None:
    """The gateway asks for no token there."""
    assert re.search(grown.declared["openRoutes"], "POST /api/hooks/carrier")
    assert re.search(grown.declared["openRoutes"], "GET /api/hooks/carrier") is None
    assert re.search(grown.declared["openRoutes"], "POST /api/hooks/carrier/more") is None
    guarded = deploy(
        grown.infra / "modules" / "apim.bicep", {"issuer": "https://issuer", "moreIssuers": [], "sku": "StandardV2"}
    )
    (callers,) = [
        str(one.properties["value"])
        for one in guarded.of_type("Microsoft.ApiManagement/service/policyFragments")
        if one.name.endswith("/sluice-callers")
    ]
    assert grown.declared["openRoutes"] in callers


def test_a_route_that_streams(grown: Grown) -> None:
    """The gateway holds nothing of it back; a tier that can't says so."""
    assert re.search(grown.declared["streamingRoutes"], "GET /api/watch/x")
    for tier, passed_on in (("StandardV2", True), ("Premium", True), ("BasicV2", True), ("Consumption", False)):
        made = deploy(grown.infra / "modules" / "apim.bicep", {"sku": tier, "issuer": ""})
        (policy,) = made.of_type("Microsoft.ApiManagement/service/apis/policies")
        when = ElementTree.fromstring(str(policy.properties["value"])).find("backend/choose/when")
        assert when is not None
        assert grown.declared["streamingRoutes"] in when.get("condition", "")
        forward = when.find("forward-request")
        assert (forward is not None) is passed_on, tier
        if forward is not None:
            assert forward.get("buffer-response") == "false"
            assert int(forward.get("timeout", "0")) > 230  # the load balancer before the app ends it then
        else:
            assert "passes no streams on" in (when.findtext("return-response/set-body") or "")
        (logged,) = made.of_type("Microsoft.ApiManagement/service/apis/diagnostics")
        assert not {"frontend", "backend"} & logged.properties.keys()  # no body is logged, which would hold it back


def test_a_route_that_is_not_described(grown: Grown) -> None:
    """The gateway has an operation of it all the same, made after the description's."""
    assert "/api/watch/{key}" not in grown.openapi["paths"]
    made = grown.production.of_type("Microsoft.ApiManagement/service/apis/operations")
    found = {one.name.rsplit("/", 1)[-1]: one.properties for one in made}
    assert found["get-api-watch-key"]["urlTemplate"] == "/api/watch/{key}"
    assert found["get-api-watch-key"]["templateParameters"] == [{"name": "key", "type": "string", "required": True}]


def test_a_probe(grown: Grown) -> None:
    assert {"component": "parcels", "of": "probe"} in grown.declared["probes"]


def test_an_event_consumer(grown: Grown) -> None:
    """Its consumer group is there on a laptop and in Azure."""
    groups = grown.production.of_type("Microsoft.EventHub/namespaces/eventhubs/consumergroups")
    expected = {"read-models", "webhooks", "bronze", "parcels", "notifications"}
    assert {one.name.rsplit("/", 1)[-1] for one in groups} == expected
    assert {group.name for hub in grown.emulator.event_hubs for group in hub.consumer_groups} >= {"parcels"}
    assert grown.runs_in("follow_consumer") == {"streams"}


def test_an_integration_that_notifies(grown: Grown) -> None:
    """Its consumer, the role on the topic and the topic's address follow from one line."""
    assert grown.runs_in("notifications") == {"streams"}
    (topic,) = grown.production.of_type("Microsoft.EventGrid/topics")
    assert topic.properties["inputSchema"] == "CloudEventSchemaV1_0"
    assert {app for app, _ in grown.settings("SLUICE_NOTIFICATION_URL")} == set(grown.declared["apps"]) - {"lake"}
    (grant,) = grown.declared["grants"]["gridTopic"]
    assert (grant["app"], grant["role"]) == ("streams", "EventGrid Data Sender")
    granted = grown.production.of_type("Microsoft.Authorization/roleAssignments")
    assert [one for one in granted if one.properties["description"] == "Publishes notifications."]


def test_a_queue(grown: Grown) -> None:
    """With its lock, its deliveries and the role of the app that reads it."""
    (queue,) = [
        one
        for one in grown.production.of_type("Microsoft.ServiceBus/namespaces/queues")
        if one.name.endswith("/parcels")
    ]
    assert (queue.properties["lockDuration"], queue.properties["maxDeliveryCount"]) == ("PT1M", 20)
    assert "Takes the messages of this queue. Drains its dead letters." in grown.roles("parcels")
    assert "parcels" in {one.name for one in grown.emulator.queues}
    assert grown.runs_in("take_queue") == {"bulk"}


def test_a_queue_with_a_setting_of_its_own(grown: Grown) -> None:
    """The slice of the settings is in the module too; every app is told the name."""
    assert "parcel-queue" in {one.name for one in grown.emulator.queues}
    assert grown.declared["entitySettings"]["SLUICE_PARCELS_QUEUE"] == "parcel-queue"
    assert {value for _, value in grown.settings("SLUICE_PARCELS_QUEUE")} == {"parcel-queue"}


def test_a_topic(grown: Grown) -> None:
    """Topic, subscription, filter and forwarding are the same on a laptop and in Azure; who sends there may."""

    def deployed(kind: str) -> Resource:
        (found,) = grown.production.of_type(f"Microsoft.ServiceBus/namespaces/{kind}")
        return found

    (topic,), (configured,) = grown.emulator.topics, grown.emulator.subscriptions
    there, subscription = deployed("topics"), configured.description
    assert there.name.endswith("/scans")
    assert (topic.name, there.properties["defaultMessageTimeToLive"]) == ("scans", "P2D")
    assert topic.default_message_time_to_live == timedelta(days=2)
    forwarding = deployed("topics/subscriptions")
    assert forwarding.name.endswith("/scans/late")
    assert subscription.forward_to == forwarding.properties["forwardTo"] == "lane-low"
    assert subscription.max_delivery_count == forwarding.properties["maxDeliveryCount"] == 3
    assert subscription.default_message_time_to_live == timedelta(days=1)
    assert forwarding.properties["defaultMessageTimeToLive"] == "P1D"
    (rule,) = configured.rules
    replaced = deployed("topics/subscriptions/rules")
    assert replaced.name.endswith("/scans/late/$Default")
    assert rule.name == "$Default"
    assert isinstance(rule.filter, SqlFilter)
    assert rule.filter.expression == replaced.get("properties.sqlFilter.sqlExpression")
    assert rule.filter.expression == "eventType LIKE 'order.%' AND late IS NOT NULL"
    assert "Tells of scans." in grown.roles("scans")


def test_a_filter_that_the_broker_can_not_read_is_found_where_it_is_declared(copied: Path) -> None:
    """In a line that names it; the broker wouldn't start with it either, which its own tests show."""
    filtered = "Subscription(name='x', forward_to='%SLUICE_LANE_LOW%', where='colour = ')"
    add(copied, "parcels", f"resources=[Topic(name='scans', subscriptions=({filtered},))]")
    done = _run(copied, ["-m", "local.declaring", "--check", "--project", str(copied)])
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "a valid SQL expression" in done.stderr
    assert "Topics[0].Subscriptions[0]" in done.stderr


BAD = [
    (
        'functions=[Function(call=take, trigger=QueueTrigger(queue="parcls"), app=AppName.BULK)]',
        "take_parcels of parcels reads the queue parcls, which nobody declares",
    ),
    (
        'resources=[Queue(name="parcels")],\n'
        'functions=[Function(call=take, trigger=QueueTrigger(queue="parcels"), app=AppName.BULK)]',
        "take_parcels of parcels reads the queue parcels, whose dead letters nobody drains",
    ),
    (
        'jobs=[Job(name="tidy", app=AppName.STREAMS, schedule=parse_schedule("now and then"), call=tick)]',
        "now and then",
    ),
    (
        'routes=[Route(method="POST", path="messages", endpoint=answer, access=frozenset({Role.READER}))]',
        "the route POST /api/messages is claimed by ingestion and by parcels",
    ),
    (
        "resources=[Topic(name='scans', subscriptions=(Subscription(name='x', forward_to='nowhere'),))]",
        "x of the topic scans forwards to nowhere, which nobody declares",
    ),
    ('resources=[Queue(name="parcels", lock="PT10M")]', "the lock of the queue parcels is PT10M: use PT5S to PT5M"),
]


@pytest.mark.parametrize(
    ("offered", "said"),
    BAD,
    ids=["unknown queue", "no drain", "schedule", "two owners", "forwards nowhere", "refused by Azure"],
)
def test_a_bad_declaration_is_one_clear_line_everywhere(copied: Path, offered: str, said: str) -> None:
    """At the start, where it is declared, and in the doctor."""
    add(copied, "parcels", offered)
    _is_one_line_everywhere(copied, said)


def test_a_handler_without_a_model_is_one_clear_line_everywhere(copied: Path) -> None:
    """The same of an integration."""
    (copied / "integrations" / "parcels.py").write_text(
        "from shared.messages import Integration\n\n"
        'parcels = Integration("parcels")\n\n\n'
        '@parcels.handles("parcel.scanned", key="parcelId")\n'
        "async def scan(parcel, work) -> None: ...\n"
    )
    _is_one_line_everywhere(copied, "parcels.scan: annotate the first parameter with a pydantic model")


def _is_one_line_everywhere(copied: Path, said: str) -> None:
    """At the start, where it is declared, and in the doctor."""
    commands = (
        ["-c", "import function_app"],
        ["-m", "local.declaring", "--check", "--project", str(copied)],
        ["-m", "local.doctor", "--project", str(copied)],
    )
    with ThreadPoolExecutor(len(commands)) as pool:
        start, declaring, doctor = pool.map(partial(_run, copied), commands)
    assert start.returncode != 0
    assert said in start.stderr.strip().splitlines()[-1]
    for done in (declaring, doctor):
        assert done.returncode == 2
        assert done.stderr.strip().count("\n") == 0
        assert said in done.stderr


def _run(copied: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The app starts in the copy, the tools in the project."""
    starts = arguments[0] == "-c"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copied if starts else None,
        env={**os.environ, **sample_environment(copied)} if starts else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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
