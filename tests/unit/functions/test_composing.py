"""Capabilities put together: what they offer is there, what contradicts itself stops the start with names."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.composition import (
    CAPABILITIES,
    Access,
    Capability,
    Composition,
    Need,
    Queue,
    WrongComposition,
    capabilities_of,
    compose,
)
from functions.composition.api import gathered_app
from functions.composition.capabilities import SETTINGS
from functions.composition.claims import claim_store
from functions.composition.health import reports
from functions.composition.jobs import job_records
from functions.composition.sending import lane_senders
from functions.composition.state import state_store
from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.authentication import Role, api_key_entry
from shared.health import Reports
from shared.http import Route
from shared.jobs import Job, JobRecords, parse_schedule
from shared.messages import Registry
from shared.tables import MemoryTable
from shared.telemetry import Metrics
from shared.telemetry.metrics import instruments
from tests.unit.asgi import ask
from tests.unit.memory import MemoryClaims, MemoryLanes, MemoryState

from .conftest import ENVIRONMENT

Maker = Callable[[Composition], Capability]


async def nothing(_: Any) -> None:
    """Do nothing."""


async def empty(_: Request) -> Response:
    """Answer nothing."""
    return Response(status_code=204)


async def parcels(messages: Any) -> None:
    """Take parcels."""


def job(name: str = "count") -> Job:
    """A job that does nothing."""
    return Job(name=name, app=AppName.BULK, schedule=parse_schedule("5m"), call=nothing)


def often(_: Composition) -> Capability:
    """A capability with a job whose schedule is none."""
    return Capability(
        name="one", jobs=[Job(name="a", app=AppName.BULK, schedule=parse_schedule("often"), call=nothing)]
    )


def route(method: str, path: str) -> Route:
    """A route that answers nothing."""
    return Route(method=method, path=path, endpoint=empty, access=frozenset({Role.READER}))


def reads(queue: str) -> Function:
    """A function on a queue."""
    return Function(call=parcels, trigger=QueueTrigger(queue=queue), app=AppName.BULK)


@pytest.fixture
def composition() -> Composition:
    """An app with no integration."""
    return Composition(SETTINGS.load(ENVIRONMENT), Registry([]))


def offering(name: str = "one", **offered: Any) -> Maker:
    """A capability's maker."""
    return lambda _: Capability(name=name, **offered)


@pytest.mark.parametrize(
    ("makers", "line"),
    [
        (
            [offering("one"), offering("one")],
            "the capability one is claimed by the list and by the list",
        ),
        (
            [
                offering("one", routes=[route("GET", "parcels/{id}")]),
                offering("two", routes=[route("GET", "parcels/{key}")]),
            ],
            "the route GET /api/parcels/{} is claimed by one and by two",
        ),
        (
            [offering("one", settings=["SLUICE_EVENT_HUB"]), offering("two", settings=["SLUICE_EVENT_HUB"])],
            "the setting SLUICE_EVENT_HUB is claimed by one and by two",
        ),
        (
            [
                offering("one", functions=[reads("parcels")], resources=[Queue(name="parcels")], drained=["parcels"]),
                offering("two", functions=[reads("parcels")]),
            ],
            "the function parcels is claimed by one and by two",
        ),
        ([offering("one", jobs=[job()]), offering("two", jobs=[job()])], "the job count is claimed by one and by two"),
        (
            [offering("one", resources=[Queue(name="q")]), offering("two", resources=[Queue(name="q")])],
            "the queue q is claimed by one and by two",
        ),
        ([offering(functions=[reads("parcels")])], "parcels of one reads the queue parcels, which nobody declares"),
        (
            [offering(functions=[reads("parcels")], resources=[Queue(name="parcels")])],
            "parcels of one reads the queue parcels, whose dead letters nobody drains",
        ),
        (
            [offering(functions=[Function(call=parcels, trigger=HubTrigger(hub="h", group="g"), app=AppName.BULK)])],
            "parcels of one reads the hub h, which nobody declares",
        ),
        (
            [offering(needs=[Need(access=Access.SEND, to=Queue(name="q"), why="To send.")])],
            "one needs the queue q, which nobody declares",
        ),
        (
            [
                offering(
                    resources=[Queue(name="q")],
                    needs=[Need(access=Access.SEND, to=Queue(name="q"), why="To send.", by=["nobody"])],
                )
            ],
            "one says that nobody makes calls, which is no function, job or probe of its own",
        ),
        ([offering(settings=["SLUICE_NEW"])], "one has the setting SLUICE_NEW, which the settings model doesn't"),
        (
            [lambda _: Capability(name="one", jobs=[job("Wrong Name")])],
            "the job 'Wrong Name': use lower-case letters, digits and hyphens",
        ),
        (
            [often],
            "'often' is neither an interval nor NCRONTAB, which has six fields from seconds on",
        ),
        ([offering(routes=[]), lambda _: Capability(name="two", routes=[route("GET", "/parcels")])],
            "the route GET /api//parcels isn't well-formed"),
    ],
)  # fmt: skip
def test_a_contradiction_stops_the_start_with_one_line(
    composition: Composition, makers: list[Maker], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr too, since the worker hides the exception; with the names of both."""
    with pytest.raises(WrongComposition) as refused:
        capabilities_of(composition, makers)
    assert str(refused.value) == f"Wrong composition: {line}"
    assert capsys.readouterr().err.splitlines() == [f"Wrong composition: {line}"]


def test_every_metric_has_one_owner(composition: Composition) -> None:
    """What nobody offered would be in no declaration, and two owners stop the start."""
    made = capabilities_of(composition, CAPABILITIES)
    assert sorted(one.name for each in made for one in each.metrics) == sorted(one.name for one in instruments())
    with pytest.raises(WrongComposition, match=r"the metric sluice\.keys\.cached is claimed by one and by two"):
        capabilities_of(composition, [offering(name, metrics=[Metrics.keys_cached]) for name in ("one", "two")])


def test_every_contradiction_is_told_at_once(composition: Composition) -> None:
    """One start, one list."""
    with pytest.raises(WrongComposition, match=r"route GET .*; .*job count"):
        capabilities_of(
            composition,
            [offering(name, jobs=[job()], routes=[route("GET", "x")]) for name in ("one", "two")],
        )


def test_an_app_without_integrations_starts(composition: Composition) -> None:
    """It has nothing to show, and says nothing that contradicts itself."""
    assert "read-models" in {one.name for one in capabilities_of(composition, CAPABILITIES)}


def test_functions_get_their_triggers(composition: Composition) -> None:
    """As the host lists them."""

    async def tick(timer: Any) -> None: ...

    waiting = QueueTrigger(queue="%Q%", sessions=True)
    capability = Capability(
        name="parcels",
        functions=[
            Function(call=parcels, trigger=waiting, app=AppName.HIGH),
            Function(call=tick, trigger=TimerTrigger(schedule="0 * * * * *"), app=AppName.HIGH),
        ],
        resources=[Queue(name="%Q%", sessions=True)],
        drained=["%Q%"],
    )
    found = compose(capabilities_of(composition, [lambda _: capability])).get_functions()
    assert [one.get_function_name() for one in found] == ["parcels", "tick", "api"]
    trigger = found[0].get_trigger().get_dict_repr()  # type: ignore[union-attr]
    assert (trigger["queueName"], trigger["isSessionsEnabled"]) == ("%Q%", True)


async def test_parts_are_made_once_and_closed_the_last_first() -> None:
    """Whatever closing one of them raises."""
    closed: list[str] = []

    def close(name: str) -> Callable[[], Any]:
        async def closing() -> None:
            closed.append(name)
            if name == "middle":
                raise RuntimeError(name)

        return closing

    def bottom(composition: Composition) -> object:
        composition.on_close(close("bottom"))
        return object()

    def middle(composition: Composition) -> tuple[object]:
        found = (composition.get(bottom),)
        composition.on_close(close("middle"))
        return found

    def top(composition: Composition) -> tuple[object, object]:
        found = (composition.get(middle), composition.get(bottom))
        composition.on_close(close("top"))
        return found

    composition = Composition(SETTINGS.load(ENVIRONMENT), Registry([]))
    assert composition.get(top) is composition.get(top)
    assert composition.get(top)[1] is composition.get(middle)[0] is composition.get(bottom)
    with pytest.raises(RuntimeError, match="middle"):
        await composition.close()
    assert closed == ["top", "middle", "bottom"]


TOY = """
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.composition import Capability, Command, Composition, Queue
from functions.triggers import AppName, Function, QueueTrigger
from shared.health import Reports
from shared.http import Route
from shared.authentication import Role, api_key_entry
from shared.jobs import Job, JobRun, parse_schedule

happened: list[str] = []


def scale(composition: Composition) -> list[str]:
    return happened


def capability(composition: Composition) -> Capability:
    async def weigh(messages) -> None:
        composition.get(scale).extend(messages)

    async def show(request: Request) -> Response:
        return JSONResponse({"parcel": request.path_params["id"]})

    async def probe() -> None:
        raise ConnectionError("the scale is broken")

    async def calibrate(run: JobRun) -> None:
        composition.get(scale).append(f"calibrated for {run.due:%H:%M}")

    return Capability(
        name="scale",
        functions=[Function(call=weigh, trigger=QueueTrigger(queue="parcels"), app=AppName.BULK)],
        routes=[Route(method="GET", path="weights/{id}", endpoint=show, access=frozenset({Role.OPERATOR}))],
        probes={"scale": probe},
        jobs=[Job(name="calibrate", app=AppName.BULK, schedule=parse_schedule("5m"), call=calibrate)],
        commands=[Command(name="tare", summary="set the scale to zero", module="scale")],
        resources=[Queue(name="parcels")],
        drained=["parcels"],
    )
"""


async def test_a_new_capability_is_one_module_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Function, route with its callers, probe, job and command are there; nothing else was touched."""
    (tmp_path / "scale.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    toy = importlib.import_module("scale")
    now = datetime(2026, 1, 5, 8, 4, tzinfo=UTC)
    keys = {role: secrets.token_urlsafe(32) for role in ("reader", "operator")}
    entries = [api_key_entry(role, key, [role]) for role, key in keys.items()]
    environment = ENVIRONMENT | {"SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{','.join(entries)}]"}
    composition = Composition(
        SETTINGS.load(environment),
        Registry([]),
        parts={
            job_records: JobRecords(MemoryTable()),
            lane_senders: MemoryLanes(),
            state_store: MemoryState(),
            claim_store: MemoryClaims(),
            reports: Reports(MemoryTable("health"), now=lambda: now),
        },
        now=lambda: now,
    )
    makers = [*CAPABILITIES, toy.capability]
    made = capabilities_of(composition, makers)
    functions = {one.get_function_name(): one.get_user_function() for one in compose(made).get_functions()}
    await functions["weigh"](["a parcel"])

    await functions["jobs_bulk"](None)
    now += timedelta(minutes=2)
    await functions["jobs_bulk"](None)
    assert toy.happened == ["a parcel", "calibrated for 08:05"]

    asgi = gathered_app(composition, [make(composition) for make in makers])
    asked = [await ask(asgi, "GET", "/api/weights/7", headers={"x-api-key": key}) for key in ("", *keys.values())]
    assert [answer.status for answer in asked] == [401, 403, 200]
    assert asked[-1].json == {"parcel": "7"}
    ready = await ask(asgi, "GET", "/api/health/ready")
    unwell = [one["name"] for one in ready.json["components"] if one["status"] != "Healthy"]
    assert (ready.status, unwell) == (503, ["scale"])
    document = (await ask(asgi, "GET", "/api/openapi.json")).json
    assert "401" in document["paths"]["/api/weights/{id}"]["get"]["responses"]
    assert "tare" in {command.name for one in made for command in one.commands}
