"""Registering handlers and projections: mistakes are told when the app starts, not when a message comes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.messages import (
    Contract,
    Integration,
    InvalidMessage,
    Lane,
    Registry,
    UnknownEventType,
    UnknownVersion,
    discover,
)


class Parcel(Contract):
    """What the integrations of these tests take."""

    parcel_id: str | None = None
    weight: int = 1


async def scan(parcel: Parcel, work: Any) -> None:
    """A handler that does nothing."""


def shown(parcel: Parcel) -> Parcel:
    """A projection that shows what was said."""
    return parcel


def parcels(name: str = "parcels", **options: Any) -> Integration:
    """An integration with one handler."""
    integration = Integration(name)
    integration.handles("parcel.scanned", **({"key": "parcelId"} | options))(scan)
    return integration


@pytest.mark.parametrize("name", ["", "Parcels", "1st", "a_b", "a b", "a" * 64, "../x"])
def test_an_integration_has_a_plain_name(name: str) -> None:
    """It appears in logs and in the API's description."""
    with pytest.raises(ValueError, match="lower-case"):
        Integration(name)


@pytest.mark.parametrize("event_type", ["", "two words", "x" * 129, "é", "tab\t"])
def test_an_event_type_is_printable(event_type: str) -> None:
    """It travels in headers and properties."""
    with pytest.raises(ValueError, match="event type"):
        Integration("p").handles(event_type, key="parcelId")(scan)
    with pytest.raises(ValueError, match="event type"):
        Integration("p").projects(event_type, into="parcels")(shown)


@pytest.mark.parametrize("version", ["", "1:0", "1/0", "1 0", "v" * 65])
def test_a_version_survives_the_schema_name_of_an_event(version: str) -> None:
    """A colon or slash in it would be read back as something else."""
    with pytest.raises(ValueError, match="version"):
        parcels(version=version)


@pytest.mark.parametrize("route", ["", "/", "Parcels", "{key}", "a//b", "parcels?x", "../messages"])
def test_a_route_is_a_plain_path(route: str) -> None:
    """A pattern or an empty path would shadow others."""
    with pytest.raises(ValueError, match="route"):
        parcels(route=route)


def test_a_handler_must_be_async_take_a_model_and_have_the_key() -> None:
    """Each mistake has its own sentence."""

    def blocking(parcel: Parcel, work: Any) -> None: ...

    async def untyped(parcel, work) -> None: ...  # type: ignore[no-untyped-def]

    async def wrong(parcel: dict[str, Any], work: Any) -> None: ...

    async def none() -> None: ...

    async def unknown(parcel: Parsel, work: Any) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    integration = Integration("p")
    with pytest.raises(TypeError, match="async def"):
        integration.handles("e", key="parcelId")(blocking)
    for call in (untyped, wrong, none):
        with pytest.raises(TypeError, match="pydantic model"):
            integration.handles("e", key="parcelId")(call)
    with pytest.raises(TypeError, match="no field 'id'"):
        integration.handles("e", key="id")(scan)
    with pytest.raises(TypeError, match=r"^p\.unknown: its annotations: name 'Parsel' is not defined$"):
        integration.handles("e", key="parcelId")(unknown)
    with pytest.raises(TypeError, match=r"^p\.scan: the priority 'urgent' is no Lane, nor tells one$"):
        integration.handles("e", key="parcelId", priority="urgent")(scan)  # type: ignore[arg-type]
    assert integration.handlers == []


def test_a_projection_must_be_a_plain_function_into_a_named_view() -> None:
    """What it returns becomes a row at once."""

    async def waiting(parcel: Parcel) -> Parcel:
        return parcel

    with pytest.raises(TypeError, match="plain function"):
        Integration("p").projects("e", into="parcels")(waiting)
    with pytest.raises(ValueError, match="read model"):
        Integration("p").projects("e", into="Par cels")(shown)


def test_a_key_may_be_named_as_in_python_or_as_in_json() -> None:
    """Both are the same field."""
    for name in ("parcelId", "parcel_id"):
        handler = parcels(key=name).handlers[0]
        assert handler.key_of(Parcel(parcel_id="7")) == "7"


@pytest.mark.parametrize("key", [None, "", "k" * 129, "line\nbreak", "\x00"])
def test_a_message_without_a_usable_key_is_invalid(key: str | None) -> None:
    """A missing key would make strangers share one aggregate."""
    with pytest.raises(InvalidMessage, match=r"data\.parcelId"):
        parcels().handlers[0].key_of(Parcel(parcel_id=key))


def test_a_model_whose_validators_break_makes_the_message_invalid() -> None:
    """The sender gets a 4xx and the worker a dead letter; neither sees the exception's text."""
    from pydantic import field_validator

    class Fragile(Contract):
        parcel_id: str

        @field_validator("parcel_id")
        @classmethod
        def broken(cls, value: str) -> str:
            return {"1": "fine"}[value]

    async def handle(parcel: Fragile, work: Any) -> None: ...

    integration = Integration("p")
    # Local classes can't be found by name, so the annotation is given as it is.
    handle.__annotations__["parcel"] = Fragile
    integration.handles("e", key="parcelId")(handle)
    body = (
        b'{"messageId":"9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10","timestamp":"2010-12-01T08:26:00Z",'
        b'"source":"s","eventType":"e","version":"1.0","data":{"parcelId":"secret"}}'
    )
    with pytest.raises(InvalidMessage, match=r"Fragile can't read it \(KeyError\)") as caught:
        integration.handlers[0].decode(body)
    assert "secret" not in caught.value.message


def test_a_priority_may_be_a_function_of_the_model() -> None:
    """A text that names a lane is as good as the lane; anything else is a mistake."""
    handler = parcels(priority=lambda parcel: "low" if parcel.weight > 10 else Lane.HIGH).handlers[0]
    assert handler.lane_of(Parcel(weight=11)) is Lane.LOW
    assert handler.lane_of(Parcel()) is Lane.HIGH


def test_a_contract_handled_twice_is_a_clash_that_names_both() -> None:
    """Another version of it is not."""
    with pytest.raises(ValueError, match=r"parcel\.scanned 1\.0 is handled twice, by one and two"):
        Registry([parcels("one"), parcels("two")])
    registry = Registry([parcels("one"), parcels("two", version="2.0")])
    assert registry.handler("parcel.scanned", "2.0").integration == "two"


def test_a_route_claimed_twice_is_a_clash() -> None:
    """The second would never be reached."""
    with pytest.raises(ValueError, match="/api/parcels is claimed twice"):
        Registry([parcels("one", route="parcels"), parcels("two", version="2.0", route="/parcels/")])


@pytest.mark.parametrize("path", ["messages", "operations", "health", "docs", "health/ready"])
def test_the_apis_own_paths_can_not_be_taken(path: str) -> None:
    """Neither as a route nor as a read model."""
    with pytest.raises(ValueError, match="belongs to the API"):
        Registry([parcels(route=path)])
    if "/" not in path:
        shadowing = Integration("p")
        shadowing.projects("e", into=path)(shown)
        with pytest.raises(ValueError, match="belongs to the API"):
            Registry([shadowing])


def test_unknown_contracts_say_what_is_known() -> None:
    """However long the unknown name is, the answer stays short."""
    registry = Registry([parcels()])
    with pytest.raises(UnknownEventType) as unknown:
        registry.handler("x" * 10_000, "1.0")
    assert unknown.value.details == {"expected": ["parcel.scanned"]}
    assert len(unknown.value.message) < 250
    with pytest.raises(UnknownVersion) as version:
        registry.handler("parcel.scanned", "9")
    assert version.value.details == {"expected": ["1.0"]}


def test_discovery_finds_modules_and_packages_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An integration that another module imports isn't registered twice."""
    source = (
        "from shared.messages import Contract, Integration\n"
        "class Parcel(Contract):\n    parcel_id: str\n"
        "{name} = Integration('{name}')\n"
        "@{name}.handles('{name}.scanned', key='parcelId')\n"
        "async def scan(parcel: Parcel, work: object) -> None: ...\n"
    )
    package = tmp_path / "found_integrations"
    (package / "second").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text(source.format(name="first"))
    (package / "second" / "__init__.py").write_text("from .work import second\nfrom ..first import first\n")
    (package / "second" / "work.py").write_text(source.format(name="second"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import found_integrations  # type: ignore[import-not-found]

    registry = discover(found_integrations)
    assert sorted(integration.name for integration in registry.integrations) == ["first", "second"]
    for name in [name for name in sys.modules if name.startswith("found_integrations")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_package_without_integrations_is_fine() -> None:
    """An app may begin empty."""
    empty = ModuleType("empty")
    empty.__path__ = []
    assert discover(empty).routes == {}
