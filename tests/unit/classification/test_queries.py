"""Queries where fields are encrypted: found by a value through its token, shown and refused by who asks."""

from __future__ import annotations

from urllib.parse import quote

import pytest

import integrations
from functions.composition.encryption import fields
from functions.composition.read_models import read_models
from shared.authentication import Role
from shared.messages import Registry, discover
from shared.query import ReadModels, indexes_of
from shared.tables import MemoryTable
from tests.unit.functions.conftest import Running
from tests.unit.functions.samples import order
from tests.unit.functions.test_api_reading import work_off
from tests.unit.shared.encryption.vault import World

from .test_app import PERSON, read_as
from .test_fields import protection

BY_CUSTOMER = "/api/orders?$filter=" + quote("customerId eq '17850'")


@pytest.fixture
async def table() -> MemoryTable:
    """The read models' table."""
    return MemoryTable("readmodels")


@pytest.fixture
async def running(table: MemoryTable) -> Running:
    """The app with keys, and three orders of two customers."""
    registry: Registry = discover(integrations)
    parts = {fields: protection(World()), read_models: ReadModels(table, indexes_of(registry))}
    running = Running(registry, parts=parts)
    for number, customer in enumerate(["17850", "999", "17850"], 1):
        day = f"2026-01-0{number}T08:00:00Z"
        await running.post("/api/orders", order(orderId=f"{number}", customerId=customer, placedAt=day, **PERSON))
    await work_off(running)
    return running


async def test_an_operator_finds_rows_by_a_protected_value(running: Running, table: MemoryTable) -> None:
    """Newest first, as it is indexed; neither rows nor index have anything in clear."""
    answer = await read_as(running, Role.OPERATOR, BY_CUSTOMER)
    assert [(row["orderId"], row["customerId"]) for row in answer.json["value"]] == [("3", "17850"), ("1", "17850")]
    kept = f"{table.rows}"
    assert not any(secret in kept for secret in ("17850", "Planted", "planted"))


@pytest.mark.parametrize(
    "query", ["$filter=customerId eq '17850'", "$orderby=customerId", "$filter=country eq 'France' and email ne null"]
)
async def test_a_reader_can_neither_filter_nor_sort_by_what_is_masked(running: Running, query: str) -> None:
    """And learns nothing of the values."""
    answer = await read_as(running, Role.READER, f"/api/orders?{quote(query, safe='$=')}")
    assert answer.status == 403
    assert "masked only" in answer.json["error"]["message"]


async def test_a_reader_sees_rows_masked(running: Running) -> None:
    """As on the route of one row, note and all."""
    (row, *_) = (await read_as(running, Role.READER, "/api/orders")).json["value"]
    assert row == (await read_as(running, Role.READER, "/api/orders/1")).json
    assert row["$masked"] == ["/address", "/customerId", "/email", "/name"]


async def test_a_continuation_is_good_for_its_level_only(running: Running) -> None:
    """An operator's link is no way in for a reader."""
    link = (await read_as(running, Role.OPERATOR, "/api/orders?$top=1")).json["nextLink"]
    assert (await read_as(running, Role.OPERATOR, link)).status == 200
    assert (await read_as(running, Role.READER, link)).status == 400
