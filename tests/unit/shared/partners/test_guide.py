"""What docs/partners.md shows runs."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from local_azure.partner.script import Script
from shared.messages import Integration
from shared.testing import AnsweringPartner, run
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import world
from tests.unit.shared.work.world import work


def snippets(project: Path, language: str) -> list[str]:
    """The page's code in a language, in order."""
    page = (project / "docs" / "partners.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


async def test_the_first_example_makes_a_label(project: Path) -> None:
    """Once, though its handler runs twice."""
    found: dict[str, Any] = {}
    exec(compile(snippets(project, "python")[0], "partners.md", "exec", dont_inherit=True), found)
    integration: Integration = found["parcels"]
    async with world() as carrier:
        client = carrier.partners._made(carrier.partner, None)
        carrier.partners._clients[found["carrier"], None] = client
        for _ in range(2):
            unit = work(MemoryState(), key="P1", partners=carrier.partners, deadline=carrier.caller.deadline)
            await integration.handlers[0].call(found["Parcel"](parcel_id="P1"), unit)
        assert [one["reference"] for one in carrier.labels] == ["P1"]
        assert unit.operations()
        assert carrier.partners.calls(found["carrier"], carrier.caller, Counter()) is not None
        assert UUID(carrier.asked[0].headers["idempotency-key"])


def test_the_script_is_one(project: Path) -> None:
    """Every rule of it can be followed."""
    script = Script(random=random.Random(0).random)
    script.read(snippets(project, "json")[0])
    assert len(script.rules) == len(json.loads(snippets(project, "json")[0])["rules"])


def test_the_poll_of_the_guide_is_one(project: Path) -> None:
    """It reads a page into messages of the integration."""
    found: dict[str, Any] = {}
    first, *_ = (one for one in snippets(project, "python") if "parcel.packed" in one)
    (second,) = (one for one in snippets(project, "python") if "carrier.polls" in one)
    exec(compile(first + second, "partners.md", "exec", dont_inherit=True), found)
    page = found["Shipments"](shipments=[{"id": "S-1", "updated_at": "2026-11-30T12:00:00Z"}], next_page="2")
    polled = found["shipments"].read(page)
    assert (polled.position, polled.more) == ("2026-11-30T12:00:00Z", {"page": "2"})
    assert [item.data.shipment for item in polled.items] == ["S-1"]
    assert found["shipments"].job == "carrier.shipments"


async def test_the_test_of_the_guide_passes(project: Path) -> None:
    """On the first example's integration."""
    found: dict[str, Any] = {}
    first, *_ = (one for one in snippets(project, "python") if "parcel.packed" in one)
    (last,) = (one for one in snippets(project, "python") if "AnsweringPartner" in one)
    exec(compile(first + last, "partners.md", "exec", dont_inherit=True), found)
    await found["test_a_label_is_made_though_the_carrier_stumbles"]()


@pytest.mark.parametrize(
    ("provider", "tracking", "asked"),
    [("express", "X-1", ("POST", "/shipments")), ("post", "post-P-1", ("PUT", "/parcels/536365"))],
)
async def test_the_provider_is_chosen_and_the_handler_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch, provider: str, tracking: str, asked: tuple[str, str]
) -> None:
    """Two unlike APIs behind one Protocol."""
    monkeypatch.setenv("SHOP_SHIPS_BY", provider)
    found: dict[str, Any] = {}
    (code,) = (one for one in snippets(project, "python") if "CanShip" in one)
    exec(compile(code, "partners.md", "exec", dont_inherit=True), found)
    apis = [AnsweringPartner(found[name]) for name in ("express", "post")]
    apis[0].answers("POST", "/shipments", {"tracking": "X-1"})
    apis[1].answers("PUT", "/parcels/*", {"parcel": "P-1", "state": "announced"})
    outcome = await run(found["shipping"], "order.packed", {"orderId": "536365"}, partners=apis)
    assert [one.data.model_dump()["tracking"] for one in outcome.published] == [tracking]
    assert [(one.method, one.path) for api in apis for one in api.asked] == [asked]


async def test_many_are_asked_together_and_a_list_is_read(project: Path) -> None:
    """As the guide shows."""
    found: dict[str, Any] = {}
    first, *_ = (one for one in snippets(project, "python") if "parcel.packed" in one)
    (many,) = (one for one in snippets(project, "python") if "BatchCall" in one)
    exec(compile(first + many, "partners.md", "exec", dont_inherit=True), found)
    async with world() as carrier:
        carrier.partners._clients[found["carrier"], None] = carrier.partners._made(carrier.partner, None)
        carrier.says("POST", "/labels/many", status=200, json={"outcomes": [{"id": "L1"}]})
        carrier.says("GET", "/labels", status=200, json={"labels": [{"id": "L1"}]})
        unit = work(MemoryState(), key="P1", partners=carrier.partners, deadline=carrier.caller.deadline)
        assert (await found["label_together"](found["Parcel"](parcel_id="P1"), unit)).id == "L1"
        assert await found["count_labels"](unit) == 1


async def test_what_comes_piece_by_piece_is_read(project: Path) -> None:
    """Lines and events, as the guide shows."""
    found: dict[str, Any] = {}
    first, *_ = (one for one in snippets(project, "python") if "parcel.packed" in one)
    (follow,) = (one for one in snippets(project, "python") if "async def follow" in one)
    exec(compile(first + follow, "partners.md", "exec", dont_inherit=True), found)
    async with world() as carrier:
        carrier.partners._clients[found["carrier"], None] = carrier.partners._made(carrier.partner, None)
        lines, events = {"Content-Type": "application/x-ndjson"}, {"Content-Type": "text/event-stream"}
        carrier.says("GET", "/labels/export", status=200, text='{"id": "L1"}\n', headers=lines)
        carrier.says("GET", "/progress", status=200, text="data: done\n\n", headers=events)
        unit = work(MemoryState(), key="P1", partners=carrier.partners, deadline=carrier.caller.deadline)
        assert await found["follow"](unit) == ["L1", "done"]
