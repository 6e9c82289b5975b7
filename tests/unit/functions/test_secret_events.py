"""Secret events as the worker hands them over: both schemas of Event Grid, and bodies from the queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest
from azure.functions.meta import Datum

from functions.composition import Composition
from functions.composition.rotation import capability, secret_events
from shared.environment import WrongSettings
from shared.messages import Registry
from shared.rotation import RotationFailed, random_key
from shared.settings import Settings
from tests.unit.shared.rotation.world import Rotating

from .conftest import ENVIRONMENT


def functions_of(composition: Composition) -> dict[str, Callable[..., Any]]:
    """The capability's functions by name."""
    return {one.name: one.call for one in capability(composition).functions}


@pytest.fixture
def rotating() -> Rotating:
    """A vault with a secret that is about to expire."""
    return Rotating(random_key())


@pytest.fixture
def functions(registry: Registry, rotating: Rotating) -> dict[str, Callable[..., Any]]:
    """The functions on this vault."""
    return functions_of(Composition(Settings.load(ENVIRONMENT), registry, parts={secret_events: rotating.events}))


def as_the_worker(event: dict[str, Any]) -> Any:
    """What the worker makes of an event."""
    converter: Any = func.get_binding_registry().get("eventGridTrigger")
    return converter.decode(Datum(json.dumps(event), "json"), trigger_metadata={})


async def test_both_schemas_reach_the_handler(functions: dict[str, Callable[..., Any]], rotating: Rotating) -> None:
    """The same event in either is the same event."""
    grid = rotating.event()
    cloud = {"specversion": "1.0", "type": grid["eventType"], "time": grid["eventTime"], "source": grid["topic"]}
    cloud |= {name: grid[name] for name in ("id", "subject", "data")}
    for event in (grid, cloud):
        await functions["secret_events"](as_the_worker(event))
    assert rotating.events.counts == {"rotated": 1, "repeated": 1}


@pytest.mark.parametrize("event", [{}, {"id": None}, {"specversion": "1.0"}, {"eventType": "x", "data": []}])
async def test_what_is_no_secret_event_is_counted(
    functions: dict[str, Callable[..., Any]], rotating: Rotating, event: dict[str, Any]
) -> None:
    """It doesn't come again."""
    await functions["secret_events"](as_the_worker(event))
    assert rotating.events.counts == {"refused": 1}


async def test_the_queue_brings_the_same_events(
    functions: dict[str, Callable[..., Any]], rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is in it, before and after what fails; that comes again."""
    monkeypatch.setattr("functions.rotation._RETRY_SECONDS", 0.0)

    class Message:
        """A message of the queue."""

        def __init__(self, body: bytes) -> None:
            self.get_body = lambda: body

    messages = [Message(b"no JSON"), Message(json.dumps([rotating.event(), 7]).encode()), Message(b"{}")]
    rotating.lease.taken = True
    with pytest.RaisesGroup(pytest.RaisesGroup(RotationFailed)):
        await functions["secret_events_queue"](messages)
    assert rotating.events.counts == {"refused": 3}
    rotating.lease.taken = False
    await functions["secret_events_queue"](messages)
    assert rotating.events.counts == {"refused": 6, "rotated": 1}


async def test_without_a_vault_an_event_says_which_setting_is_missing(registry: Registry) -> None:
    """Nothing was subscribed then."""
    functions = functions_of(Composition(Settings.load(ENVIRONMENT), registry))
    with pytest.raises(WrongSettings, match="KeyVault__vaultUri"):
        await functions["secret_events"](as_the_worker(Rotating().event()))
