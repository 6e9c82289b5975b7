"""Capabilities put together: what they offer is there, what contradicts itself stops the start with names."""

from __future__ import annotations

from collections.abc import Callable
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
    Table,
    WrongComposition,
    capabilities_of,
    compose,
)
from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.authentication import Role
from shared.http import Route
from shared.jobs import Job, parse_schedule
from shared.messages import Registry
from shared.settings import Settings

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
    return Composition(Settings.load(ENVIRONMENT), Registry([]))


def offering(name: str = "one", **offered: Any) -> Maker:
    """A capability's maker."""
    return lambda _: Capability(name=name, **offered)


STORE = offering("state", resources=[Table(name="state", every_account=True)])
"""Where jobs have their records."""


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
                offering("one", functions=[reads("parcels")], resources=[Queue(name="parcels")]),
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
            "one says that nobody makes calls, which is no function or job of its own",
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
        capabilities_of(composition, [*makers, STORE])
    assert str(refused.value) == f"Wrong composition: {line}"
    assert capsys.readouterr().err.splitlines() == [f"Wrong composition: {line}"]


def test_every_contradiction_is_told_at_once(composition: Composition) -> None:
    """One start, one list."""
    with pytest.raises(WrongComposition, match=r"route GET .*; .*job count"):
        capabilities_of(
            composition,
            [STORE, *(offering(name, jobs=[job()], routes=[route("GET", "x")]) for name in ("one", "two"))],
        )


def test_an_app_without_integrations_starts(composition: Composition) -> None:
    """It has nothing to show, and says nothing that contradicts itself."""
    assert "read-models" in {one.name for one in capabilities_of(composition, CAPABILITIES)}


def test_functions_get_their_triggers(composition: Composition) -> None:
    """As the host lists them."""

    async def tick(timer: Any) -> None: ...

    dead = QueueTrigger(queue="%Q%", sessions=True, dead_letters=True)
    capability = Capability(
        name="parcels",
        functions=[
            Function(call=parcels, trigger=dead, app=AppName.HIGH),
            Function(call=tick, trigger=TimerTrigger(schedule="0 * * * * *"), app=AppName.HIGH),
        ],
        resources=[Queue(name="%Q%", sessions=True)],
    )
    found = compose(capabilities_of(composition, [lambda _: capability])).get_functions()
    assert [one.get_function_name() for one in found] == ["parcels", "tick", "api"]
    trigger = found[0].get_trigger().get_dict_repr()  # type: ignore[union-attr]
    assert (trigger["queueName"], trigger["isSessionsEnabled"]) == ("%Q%/$deadletterqueue", True)


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

    composition = Composition(Settings.load(ENVIRONMENT), Registry([]))
    assert composition.get(top) is composition.get(top)
    assert composition.get(top)[1] is composition.get(middle)[0] is composition.get(bottom)
    with pytest.raises(RuntimeError, match="middle"):
        await composition.close()
    assert closed == ["top", "middle", "bottom"]
