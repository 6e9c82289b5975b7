"""Calls to a partner: what is sent, what is made of the answer, and what of everything that is none."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from shared.messages import Category
from shared.partners import (
    InvalidAnswer,
    Nothing,
    OutcomeUnknown,
    Partner,
    PartnerError,
    PartnerFailed,
    PartnerModel,
    PartnerRefused,
    Partners,
    PartnerThrottled,
    PartnerUnavailable,
    Pool,
    Timeouts,
    client,
)
from shared.processing.failures import classify
from shared.resilience import Concurrency
from tests.unit.shared.partners.world import Label, Parcel, World, world

PARCEL = Parcel(reference="536365")


@pytest.fixture
async def carrier() -> AsyncIterator[World]:
    """A carrier with everything at its default, but for short waits."""
    async with world() as made:
        yield made


async def test_a_call_is_typed_in_and_out(carrier: World) -> None:
    """The body goes as the model says, and the answer comes as one; unknown fields are tolerated."""
    label = await carrier.calls().post("/labels", Label, PARCEL)
    assert label == Label(id="1", reference="536365")
    assert await carrier.calls().get("/labels", list[Label], query={"open": True, "page": 2}) == [label]
    await carrier.calls().delete("/labels/1", Nothing)
    assert [dict(one.query) for one in carrier.asked] == [{}, {"open": "true", "page": "2"}, {}]
    assert carrier.labels == []


async def test_a_trusted_partner_is_told_correlation_and_trace(carrier: World) -> None:
    """The carrier can find its side of the story."""
    await carrier.calls().post("/labels", Label, PARCEL)
    headers = carrier.asked[0].headers
    assert headers["x-correlation-id"] == "c-1"
    assert headers["traceparent"] == carrier.caller.traceparent
    assert headers["content-type"] == "application/json"


async def test_another_is_told_neither() -> None:
    """Ids of ours are nobody else's business."""
    async with world(trusted=False, idempotency_header=None) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL)
        assert not {"x-correlation-id", "traceparent", "idempotency-key"} & set(carrier.asked[0].headers)


async def test_a_second_run_repeats_the_same_calls(carrier: World) -> None:
    """Each call has a key of its own, and a re-run the same ones: the carrier makes two labels, not four."""
    for _ in range(2):
        calls = carrier.calls()
        await calls.post("/labels", Label, PARCEL)
        await calls.post("/labels", Label, PARCEL)
    assert len(carrier.labels) == 2
    keys = [one.headers["idempotency-key"] for one in carrier.asked]
    assert keys[:2] == keys[2:]
    assert len(set(keys)) == 2


async def test_another_message_makes_another_call(carrier: World) -> None:
    """Though it asks for the same."""
    await carrier.calls().post("/labels", Label, PARCEL)
    await carrier.calls(message_id=UUID(int=2)).post("/labels", Label, PARCEL)
    assert len(carrier.labels) == 2


async def test_an_answer_that_is_kept_is_found_by_the_next_run(carrier: World) -> None:
    """`once=True`: the carrier is asked no second time, and may have forgotten the key."""
    first = await carrier.calls().post("/labels", Label, PARCEL, once=True)
    carrier.says(status=500)
    assert await carrier.calls().post("/labels", Label, PARCEL, once=True) == first
    assert len(carrier.asked) == 1


async def test_what_another_run_kept_first_counts(carrier: World) -> None:
    """Two runs of a message side by side end with one answer, whichever the carrier gave last."""
    carrier.says("POST", status=201, json={"id": "second"})
    carrier.says("POST", status=201, json={"id": "first"}, times=1)
    answers = await asyncio.gather(*(carrier.calls().post("/labels", Label, PARCEL, once=True) for _ in range(2)))
    assert len(carrier.asked) == 2
    assert answers[0] == answers[1]


async def test_only_a_model_is_kept(carrier: World) -> None:
    """Anything else is refused before the call is made."""
    with pytest.raises(TypeError, match="once=True"):
        await carrier.calls().post("/labels", list[Label], PARCEL, once=True)
    assert not carrier.asked


FAILING: list[tuple[dict[str, Any], type[PartnerError], Category]] = [
    ({"status": 400, "json": {"code": "NO_SUCH_COUNTRY"}}, PartnerRefused, Category.PERMANENT),
    ({"status": 401}, PartnerRefused, Category.PERMANENT),
    ({"status": 301, "headers": {"Location": "/elsewhere"}}, PartnerRefused, Category.PERMANENT),
    ({"status": 404}, PartnerRefused, Category.PERMANENT),
    ({"status": 408}, PartnerFailed, Category.TRANSIENT),
    ({"status": 429}, PartnerThrottled, Category.THROTTLED),
    ({"status": 500}, PartnerFailed, Category.TRANSIENT),
    ({"status": 503}, PartnerThrottled, Category.THROTTLED),
    ({"reset": "before"}, PartnerFailed, Category.TRANSIENT),
    ({"reset": "after"}, PartnerFailed, Category.TRANSIENT),
    ({"status": 200, "text": "<p>welcome"}, InvalidAnswer, Category.INVALID),
    ({"status": 200, "json": {"no": "id"}}, InvalidAnswer, Category.INVALID),
    ({"status": 200, "json": ["a", "list"]}, InvalidAnswer, Category.INVALID),
    (
        {"status": 200, "text": '{"id": "1', "headers": {"Content-Type": "application/json"}},
        InvalidAnswer,
        Category.INVALID,
    ),
    ({"status": 200, "text": "", "headers": {"Content-Type": "application/json"}}, InvalidAnswer, Category.INVALID),
    (
        {"status": 200, "text": '{"id": "1"}', "headers": {"Content-Type": "application/json; charset=utf-16"}},
        InvalidAnswer,
        Category.INVALID,
    ),
    (
        {"status": 200, "text": '{"id": "1"}', "headers": {"Content-Encoding": "gzip, gzip"}},
        InvalidAnswer,
        Category.INVALID,
    ),
    ({"status": 200, "size": 10 * 1024 * 1024}, InvalidAnswer, Category.INVALID),
]


@pytest.mark.parametrize(
    ("behaviour", "error", "category"), FAILING, ids=[str(number) for number in range(len(FAILING))]
)
async def test_each_failure_has_its_kind(
    carrier: World, behaviour: dict[str, Any], error: type[PartnerError], category: Category
) -> None:
    """Named with partner and endpoint, sorted by the failure matrix, and never followed by a redirect."""
    carrier.says("POST", **behaviour)
    with pytest.raises(error, match=r"^carrier: labels: ") as raised:
        await carrier.calls().post("/labels", Label, PARCEL)
    assert classify(raised.value).category is category
    assert not [one for one in carrier.asked if one.path != "/labels"]


async def test_a_refusal_tells_the_handler_in_the_partners_words(carrier: World) -> None:
    """The body is for the handler; the message, which is logged, doesn't quote it."""
    carrier.says(status=422, json={"code": "NO_SUCH_COUNTRY"})
    with pytest.raises(PartnerRefused) as raised:
        await carrier.calls().post("/labels", Label, PARCEL)
    assert raised.value.body == b'{"code": "NO_SUCH_COUNTRY"}'
    assert "COUNTRY" not in str(raised.value)


async def test_a_bomb_is_counted_as_it_unfolds(carrier: World) -> None:
    """200 MB in 200 kB: the answer is left at its limit, and memory stays."""
    carrier.says("GET", status=200, headers={"Content-Type": "application/json"}, size=200 * 1024 * 1024, gzip=True)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidAnswer, match="more than 8388608 bytes"):
            await carrier.calls().get("/labels", Label)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 8 * 1024 * 1024 < peak < 40 * 1024 * 1024


async def test_a_dripping_answer_ends_with_the_time_of_the_call() -> None:
    """A piece every now and then keeps no call alive."""
    async with world(timeouts=Timeouts(total=0.2)) as carrier:
        carrier.says(status=200, text="x" * 1_000, drip=0.05)
        with pytest.raises(PartnerFailed, match=r"no answer within 0\.2 s"):
            await carrier.calls(deadline=asyncio.get_running_loop().time() + 0.25).get("/labels", Label)


async def test_failures_are_tried_again(carrier: World) -> None:
    """Twice, with the same key: one label."""
    carrier.says("POST", reset="after", times=1)
    carrier.says("POST", status=503, times=1)
    label = await carrier.calls().post("/labels", Label, PARCEL)
    assert len(carrier.asked) == 3
    assert carrier.labels == [{"reference": "536365", "id": label.id}]


async def test_a_refusal_is_not(carrier: World) -> None:
    """It would be refused again."""
    carrier.says("POST", status=400, times=1)
    with pytest.raises(PartnerRefused):
        await carrier.calls().post("/labels", Label, PARCEL)
    assert len(carrier.asked) == 1


async def test_what_may_have_been_done_is_not_asked_for_twice() -> None:
    """Without keys a POST whose connection broke is for a person to decide; one that was throttled is repeated."""
    async with world(idempotency_header=None) as carrier:
        carrier.says("POST", status=429, times=1)
        await carrier.calls().post("/labels", Label, PARCEL)
        carrier.says("POST", reset="after", times=1)
        with pytest.raises(OutcomeUnknown) as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert classify(raised.value).category is Category.PERMANENT
        assert len(carrier.asked) == 3
        carrier.says("GET", reset="after", times=1)
        await carrier.calls().get("/labels", list[Label])


async def test_a_wait_that_the_message_has_no_time_for_is_left_to_it(carrier: World) -> None:
    """The partner asks for a minute: the call ends at once, and the message's retry waits as long."""
    carrier.says("POST", status=429, headers={"Retry-After": "60"})
    with pytest.raises(PartnerThrottled) as raised:
        await carrier.calls().post("/labels", Label, PARCEL)
    assert len(carrier.asked) == 1
    assert classify(raised.value).after == 60


@pytest.mark.parametrize("wait", ["0", "Thu, 01 Jan 2026 03:04:35 GMT"])
async def test_a_partner_that_asks_for_no_wait_is_tried_by_the_plan(carrier: World, wait: str) -> None:
    """Else all of a message's attempts were over within a second."""
    carrier.says("POST", status=503, headers={"Retry-After": wait})
    with pytest.raises(PartnerThrottled) as raised:
        await carrier.calls().post("/labels", Label, PARCEL)
    assert classify(raised.value).after is None


async def test_the_budget_ends_a_storm_of_retries() -> None:
    """Ten spare retries, then a fifth of the calls; critical ones have a budget of their own."""
    async with world(breaker=None) as carrier:
        carrier.says("GET", status=500)

        async def tries(*, critical: bool) -> int:
            before = len(carrier.asked)
            for number in range(20):
                with pytest.raises(PartnerFailed):
                    await carrier.calls(message_id=UUID(int=number)).get("/labels", Label, critical=critical)
            return len(carrier.asked) - before

        assert 20 + 10 <= await tries(critical=False) <= 20 + 10 + 5
        assert 20 + 10 <= await tries(critical=True) <= 20 + 10 + 5


async def test_without_time_nobody_is_called(carrier: World) -> None:
    """The message is put off, and this was no attempt."""
    with pytest.raises(PartnerUnavailable) as raised:
        await carrier.calls(deadline=asyncio.get_running_loop().time()).post("/labels", Label, PARCEL)
    assert not carrier.asked
    assert classify(raised.value).retryable


@pytest.mark.parametrize(
    "path",
    [
        "labels",
        "//evil.example/labels",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a/%2e",
        "/a?b=c",
        "/a#b",
        "/a\\b",
        "/a\r\nb",
        "/labels/.\t./admin",
        "/labels/.%09./admin",
        "/labels/\x7f",
        "/labels/%00",
        "/labels/..;/admin",
        "/labels/.%2e;x=1/admin",
    ],
)
async def test_a_path_leads_where_it_seems_to(carrier: World, path: str) -> None:
    """A hostile id in a path is a mistake in the handler, not a call."""
    with pytest.raises(ValueError, match="path"):
        await carrier.calls().get(path, Label)


async def test_connections_are_made_anew_after_their_lifetime() -> None:
    """A call under way keeps its connection; the next one has another."""
    async with world(pool=Pool(lifetime=0.05)) as carrier:
        carrier.says("GET", "/slow", status=200, json={"id": "1"}, delay=0.2)
        slow = asyncio.create_task(carrier.calls().get("/slow", Label))
        await asyncio.sleep(0.1)
        await carrier.calls().get("/labels", list[Label])
        assert (await slow).id == "1"


async def test_nobody_is_called_who_was_not_declared(carrier: World) -> None:
    """Locks, doctor and documentation follow from the declarations."""
    stranger = Partner("stranger", base_url="https://stranger.example")
    with pytest.raises(LookupError, match="stranger"):
        carrier.partners.calls(stranger, carrier.caller, carrier.calls()._numbers)
    nowhere = Partner("nowhere")
    with pytest.raises(LookupError, match="SLUICE_PARTNER_URLS"):
        Partners([nowhere], urls={}, around=carrier.partners._around).calls(
            nowhere, carrier.caller, carrier.calls()._numbers
        )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "Carrier"}, "lower-case"),
        ({"base_url": "http://carrier.example"}, "https"),
        ({"base_url": "https://user:secret@carrier.example"}, "no user"),
        ({"base_url": "https://carrier.example/?key=1"}, "query"),
        ({"base_url": "carrier.example"}, "https"),
        ({"idempotency_header": "a b"}, "idempotency_header"),
        ({"largest_answer": 0}, "largest_answer"),
    ],
    ids=str,
)
def test_a_partner_that_cannot_be_is_refused_where_it_is_declared(options: dict[str, Any], named: str) -> None:
    """With the name of what is wrong, and never a password."""
    with pytest.raises(ValueError, match=named) as raised:
        Partner(**{"name": "carrier", **options})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("bound", [0, -1, 1_000, True])
def test_bounds_are_checked(bound: float) -> None:
    """0 is not missing, and True is not 1."""
    with pytest.raises(ValueError, match=r"timeouts\.total"):
        Timeouts(total=bound)


class Secretive(PartnerModel):
    """An answer whose field breaks."""

    token: int


async def test_a_broken_contract_names_fields_and_quotes_nothing(carrier: World) -> None:
    """What came may be a secret."""
    carrier.says(status=200, json={"token": "hunter2"})
    with pytest.raises(InvalidAnswer, match="token") as raised:
        await carrier.calls().get("/labels", Secretive)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "path", ["/labels/a%2Fb", "/labels/100%", "/labels/a;v=1", "/labels/ä ö", "/labels/%C3%A4", "/labels/a+b", "/..."]
)
async def test_what_is_in_an_id_comes_as_it_was(carrier: World, path: str) -> None:
    """Whatever must be encoded on the way."""
    carrier.says("GET", status=200, json={"id": "1"})
    await carrier.calls().get(path, Label)
    assert len(carrier.asked) == 1


def unmeasurable(_: PartnerError) -> str:
    """Measuring that fails."""
    raise KeyError("no such outcome")


async def test_a_place_is_given_back_whatever_measuring_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that leaks is gone until the app starts again."""
    async with world(concurrency=Concurrency(most=1)) as carrier:
        with monkeypatch.context() as broken:
            broken.setattr(client, "name_of", unmeasurable)
            carrier.says("GET", status=404)
            with pytest.raises(KeyError):
                await carrier.calls().get("/labels", Label)
        soon = asyncio.get_running_loop().time() + 11
        await carrier.calls(deadline=soon).post("/labels", Label, PARCEL)
