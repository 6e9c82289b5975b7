"""Polls: every item once, in the order of its pages, whatever happens between; and nothing is passed over."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from shared.jobs import JobRun, WrongSchedule
from shared.messages import Contract
from shared.partners import (
    InvalidAnswer,
    Item,
    Partner,
    PartnerFailed,
    PartnerModel,
    PartnerRefused,
    Poll,
    Polled,
    Position,
    StateRow,
    poll_once,
)
from shared.resilience import BreakerPolicy
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import NOW, World, world


class Shipment(PartnerModel):
    id: str
    at: str


class Page(PartnerModel):
    items: tuple[Shipment, ...] = ()
    next: str | None = None


class Moved(Contract):
    shipment: str


def read(page: Page) -> Polled:
    """What the partner's module makes of a page."""
    return Polled(
        items=[Item(f"{one.id} {one.at}", Moved(shipment=one.id)) for one in page.items],
        position=max((one.at for one in page.items), default=None),
        more=None if page.next is None else {"page": page.next},
    )


def poll(**options: Any) -> Poll:
    given: dict[str, Any] = {"every": "5m", "sends": "shipment.moved", "since": "since", "name": "shipments", **options}
    return Partner("carrier").polls("/shipments", **given)(read)


class Kept:
    """What was kept, in order; fails as often as it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[UUID, str]] = []
        self.failures = 0

    async def __call__(self, message_id: UUID, event_type: str, version: str, data: BaseModel) -> None:
        """As the intake does."""
        assert (event_type, version) == ("shipment.moved", "1.0")
        if self.failures:
            self.failures -= 1
            raise TimeoutError
        assert isinstance(data, Moved)
        self.seen.append((message_id, data.shipment))

    @property
    def names(self) -> list[str]:
        """The shipments."""
        return [name for _, name in self.seen]


async def run(here: World, what: Poll, kept: Kept, *, left: float = 240.0) -> bool:
    job = JobRun(due=NOW, last_success=None, time_left=lambda: left)
    return await poll_once(
        replace_partner(what, here.partner), here.calls(), StateRow(here.store, what.job), kept, job, now=NOW
    )


def replace_partner(what: Poll, partner: Partner) -> Poll:
    return replace(what, partner=partner)


async def position(here: World, what: Poll) -> Position:
    return Position.of((await StateRow(here.store, what.job).read()).values)


def page(*items: tuple[str, str], more: str | None = None) -> str:
    return json.dumps({"items": [{"id": name, "at": at} for name, at in items], "next": more})


def answers(here: World, body: str, **more: Any) -> None:
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    here.says("GET", "/shipments", status=200, text=body, headers=headers, **more)


DAY = [f"2025-11-{day:02}T00:00:00Z" for day in range(1, 31)]


async def test_pages_are_read_to_their_end_and_the_next_poll_begins_there() -> None:
    async with world() as here:
        what, kept = poll(), Kept()
        answers(here, page(("c", DAY[2])), times=1)
        answers(here, page(("a", DAY[0]), ("b", DAY[1]), more="2"), times=1)
        assert await run(here, what, kept) is False
        assert kept.names == ["a", "b", "c"]
        assert [one.query for one in here.asked] == [{}, {"page": "2"}]
        assert (await position(here, what)).since == DAY[2]
        answers(here, page(), times=1)
        await run(here, what, kept)
        assert here.asked[-1].query == {"since": DAY[2]}
        assert (await position(here, what)).since == DAY[2]


async def test_what_overlaps_is_the_same_messages() -> None:
    async with world() as here:
        what, kept = poll(overlap="1d"), Kept()
        answers(here, page(("a", DAY[4]), ("b", DAY[5])))
        await run(here, what, kept)
        await run(here, what, kept)
        assert here.asked[-1].query == {"since": DAY[4].replace("Z", ".000Z")}
        assert kept.seen[:2] == kept.seen[2:]
        assert len({identity for identity, _ in kept.seen}) == 2


async def test_a_list_without_positions_is_read_when_it_has_changed() -> None:
    """By its validators (RFC 9110, 13.1)."""
    async with world() as here:
        what, kept = poll(since=None), Kept()
        answers(here, page(("a", DAY[0])), headers={"ETag": '"v1"', "Last-Modified": "Sun, 29 Nov 2026 00:00:00 GMT"})
        await run(here, what, kept)
        here.says("GET", "/shipments", status=304)
        await run(here, what, kept)
        assert kept.names == ["a"]
        assert here.asked[-1].headers["if-none-match"] == '"v1"'
        assert here.asked[-1].headers["if-modified-since"] == "Sun, 29 Nov 2026 00:00:00 GMT"
        assert await position(here, what) == Position("", '"v1"', "Sun, 29 Nov 2026 00:00:00 GMT")


async def test_a_process_that_dies_between_reads_the_page_again() -> None:
    """Before the position is written: what was kept is kept again, under the same ids."""
    async with world() as here:
        what, kept = poll(), Kept()
        answers(here, page(("a", DAY[0]), ("b", DAY[1]), more="2"))
        kept.failures = 1
        with pytest.raises(TimeoutError):
            await run(here, what, kept)
        assert (await position(here, what)).since == ""
        answers(here, page(("c", DAY[2])), times=1)
        answers(here, page(("a", DAY[0]), ("b", DAY[1]), more="2"), times=1)
        await run(here, what, kept)
        assert sorted(set(kept.names)) == ["a", "b", "c"]
        assert len(set(kept.seen)) == 3


async def test_a_pass_that_is_cut_goes_on_with_the_page_that_comes_next() -> None:
    """The position stays until the last page is kept: this partner lists its newest first."""
    async with world() as here:
        what, kept = poll(), Kept()
        here.says("GET", "/shipments", status=500)
        answers(here, page(("z", DAY[9]), more="2"), times=1)
        with pytest.raises(PartnerFailed):
            await run(here, what, kept)
        assert (kept.names, (await position(here, what)).since) == (["z"], "")
        answers(here, page(("a", DAY[0])), times=1)
        assert await run(here, what, kept) is False
        assert here.asked[-1].query == {"page": "2"}
        assert kept.names == ["z", "a"]
        assert await position(here, what) == Position(DAY[9])


async def test_a_page_that_the_partner_has_forgotten_begins_the_pass_anew() -> None:
    async with world() as here:
        what, kept = poll(), Kept()
        here.says("GET", "/shipments", status=410)
        answers(here, page(("a", DAY[0]), more="2"), times=1)
        with pytest.raises(PartnerRefused):
            await run(here, what, kept)
        assert await position(here, what) == Position()


@pytest.mark.parametrize("alone", [False, True])
async def test_the_next_page_is_one_of_the_same_list(alone: bool) -> None:
    async with world() as here:
        what, kept = poll(alone=alone, query={"size": "2"}), Kept()
        answers(here, page(("a", DAY[0])), times=1)
        await run(here, what, kept)
        answers(here, page(("c", DAY[2])), times=1)
        answers(here, page(("b", DAY[1]), more="2"), times=1)
        await run(here, what, kept)
        since = {} if alone else {"since": DAY[0]}
        assert [one.query for one in here.asked[1:]] == [
            {"size": "2", "since": DAY[0]},
            {"size": "2", **since, "page": "2"},
        ]
        assert (await position(here, what)).since == DAY[2]


async def test_a_time_to_come_is_not_where_the_next_poll_begins() -> None:
    """An item of the year 9999 would hide all others."""
    async with world() as here:
        what, kept = poll(), Kept()
        answers(here, page(("a", "9999-01-01T00:00:00Z")), times=1)
        await run(here, what, kept)
        assert (await position(here, what)).since == "2026-01-02T03:04:05.000Z"


async def test_while_the_breaker_is_open_the_poll_waits_for_its_next_time() -> None:
    async with world(breaker=BreakerPolicy(failures=1)) as here:
        what, kept = poll(), Kept()
        here.says("GET", "/shipments", status=500)
        assert await run(here, what, kept) is False  # its second try is refused already
        assert await run(here, what, kept) is False
        assert len(here.asked) == 1


@pytest.mark.parametrize("body", ["[]", '{"items": [{"id": 1}]}', "{", '{"items": "x"}'])
async def test_what_wasnt_agreed_is_named_and_nothing_is_passed_over(body: str) -> None:
    async with world() as here:
        what, kept = poll(), Kept()
        answers(here, body)
        with pytest.raises(InvalidAnswer):
            await run(here, what, kept)
        assert (await position(here, what)).since == ""


async def test_pages_that_go_in_a_circle_are_left() -> None:
    async with world() as here:
        answers(here, page(("a", DAY[0]), more="1"))
        with pytest.raises(InvalidAnswer, match="circle"):
            await run(here, poll(), Kept())
        assert len(here.asked) == 2


async def test_a_position_that_goes_back_is_not_believed() -> None:
    async with world() as here:
        what, kept = poll(), Kept()
        answers(here, page(("b", DAY[9])), times=1)
        await run(here, what, kept)
        answers(here, page(("a", DAY[0])), times=1)
        await run(here, what, kept)
        assert (kept.names, (await position(here, what)).since) == (["b", "a"], DAY[9])
        answers(here, page(("c", "x" * 8_193)), times=1)
        with pytest.raises(InvalidAnswer, match="too long"):
            await run(here, what, kept)


async def test_a_run_ends_before_its_time_and_says_that_there_is_more() -> None:
    async with world() as here:
        answers(here, page(("a", DAY[0])))
        assert await run(here, poll(), Kept(), left=19.0) is True
        assert here.asked == []


async def test_long_polling_asks_again_at_once_until_nothing_comes() -> None:
    async with world() as here:
        what, kept = poll(holds=True), Kept()
        answers(here, page(), times=1)
        answers(here, page(("b", DAY[1])), times=1)
        answers(here, page(("a", DAY[0])), times=1)
        assert await run(here, what, kept) is False
        assert kept.names == ["a", "b"]


async def test_a_position_that_an_operator_sets_meanwhile_counts() -> None:
    async with world() as here:
        what = poll()
        row = StateRow(here.store, what.job)
        answers(here, page(("a", DAY[5])))

        class Meddling(Kept):
            async def __call__(self, *given: Any) -> None:
                await row.write(Position(DAY[20]).columns(), await row.read())

        assert await run(here, what, Meddling()) is True
        assert (await position(here, what)).since == DAY[20]


async def test_two_instances_keep_the_same_messages() -> None:
    """A lease that passed to another too early: the ids are the same, and one position is written."""
    state = MemoryState()
    async with world(state) as one, world(state) as other:
        what, kept = poll(), Kept()
        for here in (one, other):
            answers(here, page(("a", DAY[0]), ("b", DAY[1])))
        ended = await asyncio.gather(run(one, what, kept), run(other, what, kept))
        assert sorted(ended) == [False, True]
        assert len(set(kept.seen)) == 2


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"every": "often"}, WrongSchedule, "carrier.shipments"),
        ({"overlap": "-1s"}, WrongSchedule, "overlap"),
        ({"name": "Ship Ments"}, ValueError, "lower-case"),
    ],
)
def test_wrong_polls_are_refused_by_name(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        poll(**options)


def test_a_poll_reads_a_model() -> None:
    async def waits(page: Page) -> Polled:
        return Polled()

    def untyped(page):  # type: ignore[no-untyped-def]
        return Polled()

    for wrong in (waits, untyped, lambda: Polled()):
        with pytest.raises((TypeError, ValueError), match="carrier"):
            Partner("carrier").polls("/shipments", every="5m", sends="shipment.moved")(wrong)  # type: ignore[arg-type]
