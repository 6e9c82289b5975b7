"""A poll in the composed app: a job, and what it finds on the lanes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from functions.composition.polling import capability
from local_azure.partner.script import Rule, Script
from local_azure.partner.server import running_partner
from ops.polls import positions, set_position
from shared.jobs import JobRun
from shared.messages import Contract, Integration, Registry
from shared.partners import Item, Partner, PartnerModel, Polled, Timeouts
from shared.work import Work
from tests.unit.functions.conftest import ENVIRONMENT, Running

SETTINGS = {**ENVIRONMENT, "SLUICE_HANDLER_TIMEOUT_SECONDS": "9"}
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Shipment(PartnerModel):
    id: str


class Moved(Contract):
    shipment: str


parcels = Integration("parcels")
carrier = Partner("carrier", timeouts=Timeouts(total=1))


@parcels.handles("shipment.moved", key="shipment")
async def moved(move: Moved, work: Work) -> None: ...


class Shipments(PartnerModel):
    items: tuple[Shipment, ...]


@carrier.polls("/shipments", every="5m", since="since", sends="shipment.moved")
def shipments(page: Shipments) -> Polled:
    return Polled(items=[Item(one.id, Moved(shipment=one.id)) for one in page.items], position="7")


async def test_what_a_poll_finds_is_on_its_lane_and_its_position_can_be_seen_and_set() -> None:
    answer = Rule.of(
        {
            "status": 200,
            "headers": {"Content-Type": "application/json"},
            "text": json.dumps({"items": [{"id": "S-1"}, {"id": "S-2"}]}),
        }
    )
    script = Script([answer], random=lambda: 0.5)
    async with running_partner(script=script, clock=time.monotonic) as running:
        registry = Registry([parcels], beside=[carrier, shipments])
        app = Running(registry, {**SETTINGS, "SLUICE_PARTNER_URLS": f"carrier={running.url}"}, now=lambda: NOW)
        (job,) = capability(app.composition).jobs
        assert (job.name, job.schedule.text) == ("carrier.shipments", "5m")
        run = JobRun(due=NOW, last_success=None, time_left=lambda: 240.0)
        assert await job.call(run) is False
        await job.call(run)
        sent = [one.headers for one in app.lanes.sent]
        assert [(one.key, one.source) for one in sent[:2]] == [
            ("S-1", "/polls/carrier.shipments"),
            ("S-2", "/polls/carrier.shipments"),
        ]
        assert [one.message_id for one in sent[:2]] == [one.message_id for one in sent[2:]]
        assert [one.query for one in running.book.asked] == [{}, {"since": "7"}]
        (row,) = await positions(app.composition, [job.name])
        assert (row["since"], row["movedAt"]) == ("7", NOW.isoformat())
        await set_position(app.composition, job.name, "3")
        await job.call(run)
        assert running.book.asked[-1].query == {"since": "3"}
        await app.composition.close()


def test_what_nobody_handles_stops_the_start() -> None:
    with pytest.raises(ValueError, match=r"the poll carrier\.shipments sends shipment\.moved 1\.0, which nobody"):
        Running(Registry([Integration("empty")], beside=[carrier, shipments]), SETTINGS)
