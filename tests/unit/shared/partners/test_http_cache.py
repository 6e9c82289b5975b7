"""Answers to GETs are used again as their headers allow (RFC 9111)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.partners import (
    Caller,
    Calls,
    InvalidAnswer,
    Nothing,
    Partner,
    PartnerFailed,
    PartnerModel,
    PartnerRefused,
    Partners,
    PartnerThrottled,
    PartnerUnavailable,
)
from shared.partners import Surroundings as CallSurroundings
from shared.partners.http_cache import directives
from shared.resilience import BreakerPolicy, RetryPlan
from shared.testing import AnsweringPartner
from tests.unit.shared.partners.world import NOW

ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)


class Rate(PartnerModel):
    """What is asked for."""

    value: int


class Bank:
    """A partner with a cache, and the time of day that is moved."""

    def __init__(self, **options: Any) -> None:
        self.now: datetime = NOW
        self.partner = Partner("bank", **{"cache": 1_000_000, "retry": ALONE, "breaker": None, **options})
        self.api = AnsweringPartner(self.partner)
        self.partners = Partners(
            [self.partner],
            urls={},
            connect=lambda _: self.api,
            around=CallSurroundings(
                clock=lambda: (self.now - NOW).total_seconds(), now=lambda: self.now, random=lambda: 0.5
            ),
        )

    def says(self, value: int = 0, *, status: int = 200, more: Mapping[str, str] | None = None, **headers: str) -> None:
        """Have it answer so; names of headers are written with underscores."""
        named = {name.replace("_", "-"): text for name, text in {**headers, **(more or {})}.items()}
        self.api.answers("GET", "/rate", {"value": value}, status=status, headers=named)

    def calls(self) -> Calls:
        """Of another message each time."""
        deadline = (self.now - NOW).total_seconds() + 60
        caller = Caller(message_id=UUID(int=1), correlation_id="c", bucket=0, deadline=deadline)
        return self.partners.calls(self.partner, caller, Counter())

    async def rate(self, path: str = "/rate", **options: Any) -> int:
        """Asked by a handler."""
        return (await self.calls().get(path, Rate, **options)).value

    @property
    def asked(self) -> int:
        """How often the partner was."""
        return len(self.api.asked)

    def passes(self, seconds: float) -> None:
        """Time."""
        self.now += timedelta(seconds=seconds)


def at(seconds: float) -> str:
    """A moment so long after the first, as HTTP writes it."""
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


LIFETIMES: list[tuple[Mapping[str, str], float]] = [
    ({"cache_control": "max-age=60"}, 60),
    ({"cache_control": "MAX-AGE=60"}, 60),
    ({"cache_control": 'max-age="60"'}, 60),
    ({"cache_control": "max-age=60, max-age=600"}, 60),
    ({"cache_control": "public, s-maxage=600, max-age=60"}, 60),
    ({"cache_control": "private, max-age=60"}, 60),
    ({"cache_control": "max-age=60", "expires": at(600)}, 60),
    ({"cache_control": "max-age=60", "age": "50"}, 10),
    ({"cache_control": "max-age=60", "date": at(-50)}, 10),
    ({"cache_control": "max-age=99999999999"}, 2**31),
    ({"expires": at(60), "date": at(0)}, 60),
    ({"expires": "Friday, 02-Jan-26 03:05:05 GMT", "date": at(0)}, 60),
    ({"expires": "Fri Jan  2 03:05:05 2026", "date": at(0)}, 60),
    ({"expires": at(60), "date": at(20)}, 40),
    ({"cache_control": "max-age=60, no-store"}, 0),
    ({"cache_control": "max-age=60, no-cache"}, 0),
    ({"cache_control": 'x="a, no-store, b", max-age=60'}, 60),
    ({"cache_control": "max-age=60", "vary": "*"}, 0),
    ({"cache_control": "max-age=-60"}, 0),
    ({"cache_control": "max-age=soon"}, 0),
    ({"cache_control": "max-age"}, 0),
    ({"cache_control": "s-maxage=60"}, 0),
    ({"expires": "0"}, 0),
    ({"expires": at(600).replace("GMT", "+0000")}, 0),
    ({"last_modified": at(-86_400)}, 0),
    ({"etag": '"1"'}, 0),
    ({}, 0),
]


@pytest.mark.parametrize(("headers", "seconds"), LIFETIMES, ids=[str(number) for number in range(len(LIFETIMES))])
async def test_an_answer_is_fresh_for_as_long_as_it_says(headers: Mapping[str, str], seconds: float) -> None:
    """And not a second longer; without a word it isn't used again at all."""
    bank = Bank()
    bank.says(1, more=headers)
    await bank.rate()
    bank.passes(max(0.0, seconds - 1))
    bank.says(2)
    assert await bank.rate() == (1 if seconds else 2)
    bank.passes(1)
    assert await bank.rate() == 2


async def test_its_age_is_said() -> None:
    """By `age`, and by the header."""
    bank = Bank()
    bank.says(1, cache_control="max-age=60", age="5")
    await bank.rate()
    bank.passes(20)
    calls = bank.calls()
    await calls.get("/rate", Rate)
    assert (calls.age, calls.headers["age"]) == (25, "25")
    bank.passes(60)
    bank.says(2)
    calls = bank.calls()
    await calls.get("/rate", Rate)
    assert calls.age == 0


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({"Cache-Control": "no-cache"}, False),
        ({"Pragma": "no-cache"}, False),
        ({"Cache-Control": "max-age=10"}, False),
        ({"Cache-Control": "max-age=30"}, True),
        ({"Cache-Control": "min-fresh=50"}, False),
        ({"Cache-Control": "min-fresh=30"}, True),
        ({"If-None-Match": '"other"'}, False),
        ({"Range": "bytes=0-5"}, False),
    ],
)
async def test_a_handler_says_what_it_takes(asked: dict[str, str], used: bool) -> None:
    """Of an answer 20 seconds old that is fresh for 60."""
    bank = Bank()
    bank.says(1, cache_control="max-age=60")
    await bank.rate()
    bank.passes(20)
    bank.says(2, cache_control="max-age=60")
    assert await bank.rate(headers=asked) == (1 if used else 2)


async def test_a_handler_may_take_what_is_stale() -> None:
    """Up to what it says, unless the partner forbids it."""
    for control, used in (("max-age=60", True), ("max-age=60, must-revalidate", False)):
        bank = Bank()
        bank.says(1, cache_control=control)
        await bank.rate()
        bank.passes(70)
        bank.says(2)
        assert await bank.rate(headers={"Cache-Control": "max-stale=20"}) == (1 if used else 2)
        assert await bank.rate(headers={"Cache-Control": "max-stale=5"}) == 2


async def test_a_handler_may_want_nothing_stored() -> None:
    """Of its own answer."""
    bank = Bank()
    bank.says(1, cache_control="max-age=60")
    await bank.rate(headers={"Cache-Control": "no-store"})
    await bank.rate()
    assert bank.asked == 2


async def test_answers_differ_by_what_they_vary_with() -> None:
    """Each is found by the headers of its own request."""
    bank = Bank()
    for value, language in ((1, "de"), (2, "fr")):
        bank.says(value, cache_control="max-age=60", vary="Accept-Language, X-Absent")
        assert await bank.rate(headers={"Accept-Language": language}) == value
    assert await bank.rate(headers={"accept-language": "de"}) == 1
    assert await bank.rate(headers={"Accept-Language": "fr"}) == 2
    assert bank.asked == 2
    await bank.rate(headers={"Accept-Language": "fr", "X-Absent": "no more"})
    await bank.rate(query={"day": "monday"}, headers={"Accept-Language": "fr"})
    assert bank.asked == 4


@pytest.mark.parametrize("header", ["Authorization", "cookie", "X-API-Key", "X-Auth-Token", "Ocp-Customer"])
async def test_nobody_gets_what_another_was_allowed_to_see(header: str) -> None:
    """A handler's own proofs are part of the question, also where the partner forgets to say so."""
    bank = Bank()
    bank.says(1, cache_control="max-age=60")
    assert await bank.rate(headers={header: "of one"}) == 1
    bank.says(2, cache_control="max-age=60")
    assert await bank.rate(headers={header: "of another"}) == 2
    assert await bank.rate() == 2
    assert await bank.rate(headers={header: "of one"}) == 1


@pytest.mark.parametrize(
    ("validator", "condition"),
    [({"etag": 'W/"1"'}, "If-None-Match"), ({"last_modified": at(-60)}, "If-Modified-Since")],
)
async def test_what_is_stale_is_asked_for_anew(validator: dict[str, str], condition: str) -> None:
    """Under a condition: what the partner finds good is fresh again, with the headers of the 304."""
    bank = Bank()
    bank.says(1, more=validator, cache_control="max-age=60")
    await bank.rate()
    bank.passes(100)
    bank.says(9, status=304, cache_control="max-age=300", x_more="yes", content_length="0")
    calls = bank.calls()
    assert (await calls.get("/rate", Rate)).value == 1
    assert bank.api.asked[-1].headers[condition] == next(iter(validator.values()))
    assert (calls.headers["x-more"], calls.age) == ("yes", 0)
    assert calls.headers["content-type"] == "application/json"
    bank.passes(250)
    assert await bank.rate() == 1
    assert bank.asked == 2
    bank.passes(100)
    bank.says(2, cache_control="max-age=60", etag='"2"')
    assert await bank.rate() == 2
    assert await bank.rate() == 2
    assert bank.asked == 3


async def test_without_a_condition_a_304_is_no_answer() -> None:
    """Nothing is there that it could be good for."""
    bank = Bank()
    bank.says(status=304)
    with pytest.raises(PartnerRefused, match="bank: rate: answered 304"):
        await bank.rate()


@pytest.mark.parametrize(
    ("control", "after", "used"),
    [
        ("max-age=60, stale-if-error=600", 300, True),
        ("max-age=60, stale-if-error=600", 700, False),
        ("max-age=60", 61, False),
        ("max-age=60, stale-if-error=600, must-revalidate", 300, False),
        ("max-age=60, stale-if-error=600, no-cache", 10, False),
    ],
)
@pytest.mark.parametrize("failure", ["500", "503", "broken", "open"])
async def test_an_old_answer_serves_in_the_place_of_a_failure(
    control: str, after: float, used: bool, failure: str
) -> None:
    """For as long as the partner allows, with its age (RFC 5861); also while its breaker is open."""
    bank = Bank(breaker=BreakerPolicy(failures=1, open_for=3_600, open_most=3_600) if failure == "open" else None)
    bank.says(1, cache_control=control)
    await bank.rate()
    bank.passes(after)
    if failure == "broken":
        bank.api.answers(broken=True)
    else:
        bank.api.answers(status=int(failure) if failure.isdigit() else 500)
    if failure == "open":
        with pytest.raises(PartnerFailed):
            await bank.rate("/rate", query={"other": 1})
    calls = bank.calls()
    if used:
        assert (await calls.get("/rate", Rate)).value == 1
        assert calls.age == after
    else:
        with pytest.raises((PartnerUnavailable, PartnerFailed, PartnerThrottled), match="bank: rate: "):
            await calls.get("/rate", Rate)


async def test_fresh_answers_need_no_partner() -> None:
    """Neither its breaker nor its limit."""
    bank = Bank(breaker=BreakerPolicy(failures=1))
    bank.says(1, cache_control="max-age=600")
    await bank.rate()
    bank.api.answers("GET", "/rate", status=500, times=1)
    with pytest.raises(PartnerFailed):
        await bank.rate(query={"other": 1})
    assert await bank.rate() == 1


@pytest.mark.parametrize(
    ("method", "status", "kept"), [("PUT", 200, False), ("DELETE", 204, False), ("PUT", 500, True)]
)
async def test_a_change_makes_what_was_read_old(method: str, status: int, kept: bool) -> None:
    """Of the same path; one that failed changed nothing that is known of."""
    bank = Bank()
    bank.says(1, cache_control="max-age=600")
    await bank.rate()
    bank.api.answers(method, "/rate", status=status)
    if kept:
        with pytest.raises(PartnerFailed):
            await bank.calls().request(method, "/rate", Nothing)
    else:
        await bank.calls().request(method, "/rate", Nothing)
    asked = bank.asked
    await bank.rate()
    assert (bank.asked == asked) is kept


async def test_a_change_makes_old_what_others_read() -> None:
    """Whoever made it, and whatever the handlers' own headers and parameters were."""
    bank = Bank()
    bank.says(1, cache_control="max-age=600")
    questions: list[dict[str, Any]] = [{}, {"headers": {"X-Auth-Token": "of one"}}, {"query": {"day": "monday"}}]
    for question in questions:
        await bank.rate(**question)
    bank.api.answers("PATCH", "/rate", status=204)
    await bank.calls().patch("/rate", Nothing, headers={"Authorization": "of the owner"})
    bank.says(2)
    assert [await bank.rate(**question) for question in questions] == [2, 2, 2]


async def test_an_answer_that_breaks_the_contract_is_not_used_again() -> None:
    """Though it says that it is good for an hour."""
    bank = Bank()
    bank.api.answers("GET", "/rate", {"no": "value"}, headers={"Cache-Control": "max-age=3600"}, times=1)
    with pytest.raises(InvalidAnswer):
        await bank.rate()
    bank.says(2, cache_control="max-age=3600")
    assert await bank.rate() == 2
    assert await bank.rate() == 2


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Correlation-ID", "traceparent", "Pragma"])
async def test_what_differs_from_call_to_call_is_no_part_of_the_question(name: str) -> None:
    """No answer depends on it."""
    bank = Bank(idempotency_header="Idempotency-Key")
    bank.says(1, cache_control="max-age=600")
    for number in range(2):
        await bank.rate(headers={name: str(number)})
    assert bank.asked == 1


@pytest.mark.parametrize("status", [201, 206])
async def test_only_whole_answers_are_stored(status: int) -> None:
    """A part is no answer."""
    bank = Bank()
    bank.says(1, status=status, cache_control="max-age=600")
    for _ in range(2):
        await bank.rate()
    assert bank.asked == 2


@pytest.mark.parametrize("status", [301, 404, 410])
async def test_a_refusal_is_not_stored(status: int) -> None:
    """Though it says that it may be: the next handler finds it out by itself."""
    bank = Bank()
    bank.says(1, status=status, cache_control="max-age=600")
    for _ in range(2):
        with pytest.raises(PartnerRefused, match=f"bank: rate: answered {status}"):
            await bank.rate()
    assert bank.asked == 2


async def test_what_is_of_one_connection_alone_is_not_stored() -> None:
    """Nor handed out again."""
    bank = Bank()
    bank.says(1, cache_control="max-age=600", connection="x-hop", x_hop="1", x_end="2")
    await bank.rate()
    calls = bank.calls()
    await calls.get("/rate", Rate)
    assert "x-hop" not in calls.headers
    assert calls.headers["x-end"] == "2"


async def test_the_cache_is_bounded() -> None:
    """By bytes: what was used least recently goes, and so do variants without end."""
    bank = Bank(cache=20_000)
    bank.api.answers("GET", "*", {"value": 1}, headers={"Cache-Control": "max-age=600", "Vary": "X-Variant"})
    for number in range(50):
        await bank.rate(f"/rate/{number}")
        await bank.rate(headers={"X-Variant": str(number)})
    stored = bank.partners._clients[bank.partner, None]._cache
    assert stored is not None
    assert stored._stored._used <= 20_000
    asked = bank.asked
    await bank.rate("/rate/0")
    assert bank.asked == asked + 1


async def test_without_a_cache_every_answer_is_asked_for() -> None:
    """As it is unless the declaration says otherwise."""
    bank = Bank(cache=0)
    bank.says(1, cache_control="max-age=600")
    await bank.rate()
    await bank.rate()
    assert bank.asked == 2


@given(st.text(max_size=200))
def test_no_header_breaks_the_reading_of_directives(header: str) -> None:
    """Whatever a partner writes."""
    assert all(name == name.lower() for name in directives(header))


def test_a_header_of_commas_costs_no_more_than_its_length() -> None:
    """Nor one of quotes that don't end."""
    assert directives("," * 100_000) == {}
    assert directives('a="' + "\\x" * 50_000) == {}
