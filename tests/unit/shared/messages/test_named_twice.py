"""A field under both of its names: one of the two would be lost, so the body is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import Field

from shared.http.commands import Command, Refused, read_command
from shared.messages import CLOUD_EVENT_TYPE, Contract, Integration, Registry

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Part(Contract):
    """A model within a model."""

    unit_price: int = 0
    kind: str = Field("", alias="type")


class Whole(Contract):
    """The model of a message."""

    whole_id: str
    parts: list[Part] = Field(default_factory=list)
    named: dict[str, Part] = Field(default_factory=dict)
    free: dict[str, Any] = Field(default_factory=dict)


class Simple(Contract):
    """Has no second names."""

    key: str


integration = Integration("wholes")


@integration.handles("whole.made", key="wholeId", route="wholes")
async def make(whole: Whole, work: Any) -> None:
    """Never called."""


@integration.handles("simple.made", key="key")
async def simple(data: Simple, work: Any) -> None:
    """Never called."""


REGISTRY = Registry([integration])
HEAD = {"timestamp": "2026-01-02T03:04:05Z", "source": "/s", "eventType": "whole.made", "version": "1.0"}
ENVELOPE = {"messageId": str(UUID(int=1)), **HEAD}
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "whole.made"}


def taken(body: bytes | dict[str, Any], kind: str = "application/json") -> Command:
    """The command that a body is."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    route = None if isinstance(body, dict) and "data" in body else REGISTRY.routes["wholes"]
    return read_command(content, kind=kind, registry=REGISTRY, route=route, fallback_id=UUID(int=2), now=NOW)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"wholeId": "a", "whole_id": "b"}, "data.wholeId"),
        ({"whole_id": "a", "parts": [{}, {"unitPrice": 1, "unit_price": 1}]}, "data.parts.1.unitPrice"),
        ({"wholeId": "a", "parts": [{"kind": "x", "type": "y"}]}, "data.parts.0.type"),
        ({"wholeId": "a", "named": {"n": {"unit_price": 1, "unitPrice": 2}}}, "data.named.n.unitPrice"),
    ],
)
def test_a_field_given_twice_is_refused(data: dict[str, Any], field: str) -> None:
    """In every form of body, wherever it is, with the same value too."""
    for body, kind in (
        (data, "application/json"),
        (ENVELOPE | {"data": data}, "application/json"),
        (EVENT | {"data": data}, CLOUD_EVENT_TYPE),
    ):
        with pytest.raises(Refused) as caught:
            taken(body, kind)
        (found,) = caught.value.error.details["errors"]
        assert found["field"] == field
        assert "twice" in found["message"]


def test_an_envelope_s_own_field_is_refused_twice_too() -> None:
    """And a name that is escaped is the same name."""
    data = {"wholeId": "a"}
    with pytest.raises(Refused, match=r"eventType: is given twice, also as event_type"):
        taken(ENVELOPE | {"data": data, "event_type": "whole.made"})
    with pytest.raises(Refused, match=r"data\.wholeId: is given twice"):
        taken(b'{"wholeId":"a","whole\\u005fid":"b"}')


@pytest.mark.parametrize(
    "data",
    [
        {"whole_id": "a"},
        {"wholeId": "a", "parts": [{"unit_price": 1}, {"unitPrice": 2}]},
        {"wholeId": "whole_id", "free": {"whole_id": 1, "wholeId": 2}},
        {"wholeId": "a", "parts": [{"type": "kind"}]},
    ],
)
def test_one_name_each_is_fine(data: dict[str, Any]) -> None:
    """Either one, and whatever it likes where no model says anything."""
    assert taken(data).data == Whole.model_validate(data)


def test_only_bodies_with_a_second_name_are_looked_at() -> None:
    """The look costs as much as validation."""
    wholes, simples = (REGISTRY.handler(f"{name}.made", "1.0") for name in ("whole", "simple"))
    assert wholes.may_be_named_twice(b'{"wholeId":"a","kind":"b"}')
    assert not wholes.may_be_named_twice(b'{"wholeId":"a_b"}')
    assert not simples.may_be_named_twice(b'{"key":"a"}')
    assert simples.may_be_named_twice(b'{"message_id":"a"}')
