"""Coalescing: sends that meet share a batch, and every caller gets its own answer in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusConnectionError, ServiceBusError

from shared.sending import CoalescingSender, NotSent, Together

LARGEST = 10


class Batch:
    """A batch of the SDK: so many bytes, and what is larger is refused."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def add_message(self, message: ServiceBusMessage) -> None:
        """Raise as the SDK does when the batch is full."""
        text = str(message)
        if text == "odd":
            raise TypeError("can't be encoded")
        if sum(map(len, self.bodies)) + len(text) > LARGEST:
            raise MessageSizeExceededError(message="full")
        self.bodies.append(text)


class Link:
    """A queue's sender of the SDK."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: list[Exception] = []
        self.closed = False
        self.before_opening: Callable[[], Awaitable[Any]] | None = None
        self.sending = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def create_message_batch(self) -> Batch:
        """Opens the link the first time."""
        if self.before_opening is not None:
            await self.before_opening()
        return Batch()

    async def send_messages(self, batch: Batch, **options: float) -> None:
        """Return when the broker has it."""
        self.sending.set()
        await self.may_end.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(batch.bodies)

    async def close(self) -> None:
        """Close the link."""
        self.closed = True


def sender(link: Link, *, timeout: float = 5, max_waiting: int = 2_000) -> CoalescingSender:
    """A sender on the link."""
    return CoalescingSender(lambda: cast("ServiceBusSender", link), timeout=timeout, max_waiting=max_waiting)


async def send_all(to: CoalescingSender, *texts: str) -> list[BaseException | None]:
    """Send side by side; what each caller was told."""
    sends = (to.send(ServiceBusMessage(text)) for text in texts)
    return await asyncio.gather(*sends, return_exceptions=True)


async def test_a_lone_message_goes_at_once() -> None:
    """An idle queue adds no wait."""
    link = Link()
    assert await send_all(sender(link), "one") == [None]
    assert link.batches == [["one"]]


async def test_messages_that_meet_share_a_batch() -> None:
    """In the order of their calls."""
    link = Link()
    assert await send_all(sender(link), *"abcdefgh") == [None] * 8
    assert link.batches == [list("abcdefgh")]


async def test_while_one_batch_is_on_its_way_the_next_one_fills() -> None:
    """So the batch grows with the load."""
    link = Link()
    link.may_end.clear()
    to = sender(link)
    first = asyncio.create_task(to.send(ServiceBusMessage("1")))
    await link.sending.wait()
    rest = asyncio.create_task(send_all(to, "2", "3", "4"))
    await asyncio.sleep(0)
    assert not first.done()
    link.may_end.set()
    assert await rest == [None] * 3
    assert link.batches == [["1"], ["2", "3", "4"]]


async def test_a_full_batch_goes_and_the_rest_follows_in_order() -> None:
    """Nothing is skipped to fill a gap."""
    link = Link()
    assert await send_all(sender(link), "aaaa", "bbbb", "cccc", "d") == [None] * 4
    assert link.batches == [["aaaa", "bbbb"], ["cccc", "d"]]


async def test_a_message_too_large_for_any_batch_hurts_nobody_else() -> None:
    """Wherever it stands."""
    link = Link()
    answers = await send_all(sender(link), "x" * 11, "a", "y" * 11, "b", "odd", "c")
    assert [type(answer) for answer in answers] == [NotSent, type(None), NotSent, type(None), NotSent, type(None)]
    assert sorted(text for batch in link.batches for text in batch) == ["a", "b", "c"]


async def test_a_refused_batch_is_told_to_all_in_it_and_to_nobody_else() -> None:
    """The next batch is sent as if nothing had been."""
    link = Link()
    link.failures = [ServiceBusConnectionError(message="gone")]
    to = sender(link)
    answers = await send_all(to, "aaaa", "bbbb", "cccc")
    assert [type(answer) for answer in answers] == [NotSent, NotSent, type(None)]
    assert await send_all(to, "d") == [None]


@pytest.mark.parametrize("failure", [ServiceBusError("x"), OSError("x"), ValueError("x"), AttributeError("x")])
async def test_whatever_the_sdk_raises_the_caller_gets_one_kind_of_answer(failure: Exception) -> None:
    """Without the SDK's words, which may name hosts."""
    link = Link()

    async def fail() -> None:
        raise failure

    link.before_opening = fail
    to = sender(link)
    answers = await send_all(to, "a", "b")
    assert [str(answer) for answer in answers] == [f"{type(failure).__name__}: the broker didn't take it"] * 2
    link.before_opening = None
    assert await send_all(to, "c") == [None]


async def test_a_caller_that_gives_up_before_its_batch_goes_takes_its_message_along() -> None:
    """The others aren't disturbed."""
    link = Link()
    link.may_end.clear()
    to = sender(link)
    first = asyncio.create_task(to.send(ServiceBusMessage("1")))
    await link.sending.wait()
    second, third = (asyncio.create_task(to.send(ServiceBusMessage(text))) for text in "23")
    await asyncio.sleep(0)
    second.cancel()
    link.may_end.set()
    await asyncio.gather(first, third)
    assert link.batches == [["1"], ["3"]]


async def test_a_caller_that_gives_up_while_its_batch_goes_disturbs_nobody() -> None:
    """Its message may be there; the others are answered."""
    link = Link()
    link.may_end.clear()
    to = sender(link)
    one, two = (asyncio.create_task(to.send(ServiceBusMessage(text))) for text in "12")
    await link.sending.wait()
    one.cancel()
    await asyncio.sleep(0)
    link.may_end.set()
    await two
    assert one.cancelled()


async def test_a_link_that_never_opens_is_answered_in_time() -> None:
    """The SDK would go on for minutes."""
    link = Link()
    link.before_opening = asyncio.Event().wait
    answers = await send_all(sender(link, timeout=0.02), "a", "b")
    assert [type(answer) for answer in answers] == [NotSent, NotSent]
    assert "within 0.02 s" in str(answers[0])


async def test_too_many_waiting_are_refused_at_once() -> None:
    """Memory stays bounded while the broker is slow."""
    link = Link()
    link.may_end.clear()
    to = sender(link, max_waiting=3)
    first = asyncio.create_task(to.send(ServiceBusMessage("1")))
    await link.sending.wait()
    waiting = [asyncio.create_task(to.send(ServiceBusMessage(text))) for text in "234"]
    await asyncio.sleep(0)
    with pytest.raises(NotSent, match="3 messages wait"):
        await to.send(ServiceBusMessage("5"))
    link.may_end.set()
    await asyncio.gather(first, *waiting)
    assert link.batches == [["1"], ["2", "3", "4"]]


async def test_a_scheduled_copy_has_room_behind_a_full_queue() -> None:
    """Up to twice the limit: it ends a message that is handled already."""
    link = Link()
    link.may_end.clear()
    to = sender(link, max_waiting=2)
    first = asyncio.create_task(to.send(ServiceBusMessage("1")))
    await link.sending.wait()
    live = [asyncio.create_task(to.send(ServiceBusMessage(text))) for text in "23"]
    await asyncio.sleep(0)
    later = datetime(2026, 1, 5, tzinfo=UTC)
    copies = [asyncio.create_task(to.schedule(ServiceBusMessage(text), later)) for text in "45"]
    await asyncio.sleep(0)
    with pytest.raises(NotSent, match="2 messages wait"):
        await to.send(ServiceBusMessage("6"))
    with pytest.raises(NotSent, match="4 messages wait"):
        await to.schedule(ServiceBusMessage("7"), later)
    link.may_end.set()
    await asyncio.gather(first, *live, *copies)
    assert link.batches == [["1"], ["2", "3", "4", "5"]]


async def test_closing_answers_everybody_and_closes_the_link() -> None:
    """Both who is in a batch and who waits for the next."""
    link = Link()
    link.may_end.clear()
    to = sender(link)
    first = asyncio.create_task(to.send(ServiceBusMessage("1")))
    await link.sending.wait()
    second = asyncio.create_task(to.send(ServiceBusMessage("2")))
    await asyncio.sleep(0)
    await to.close()
    answers = await asyncio.gather(first, second, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["the app is closing"] * 2
    assert link.closed
    await to.close()


async def test_a_delayed_copy_is_scheduled_or_not_sent() -> None:
    """Nothing is swallowed."""
    link, when = Link(), datetime(2026, 1, 1, tzinfo=UTC)
    to = sender(link)
    message = ServiceBusMessage("later")
    await to.schedule(message, when)
    assert link.batches == [["later"]]
    assert message.scheduled_enqueue_time_utc == when
    link.failures = [ServiceBusError("x")]
    with pytest.raises(NotSent, match="didn't take it"):
        await to.schedule(ServiceBusMessage("later"), when)


async def test_probing_opens_the_link_in_bounded_time() -> None:
    """Readiness must not hang."""
    link = Link()
    await sender(link).probe()
    link.before_opening = asyncio.Event().wait
    with pytest.raises(NotSent, match="can't be reached"):
        await sender(link, timeout=0.01).probe()


async def test_a_batch_is_no_part_of_what_its_first_sender_was_doing() -> None:
    """It is the others' too, and so is every batch that follows while messages keep coming."""
    doing: ContextVar[str] = ContextVar("doing", default="nothing")
    link = Link()
    seen: list[str] = []

    async def note() -> None:
        seen.append(doing.get())

    link.before_opening = note
    doing.set("a request")
    await sender(link).send(ServiceBusMessage("one"))
    assert seen == ["nothing"]


async def in_order(to: CoalescingSender, together: Together, *texts: str) -> list[str | None]:
    """Send one behind the other; what is wrong with each."""
    waiting = to.enqueue([ServiceBusMessage(text) for text in texts], together)
    return [None if one is None else str(one) for one in await to.confirmed(waiting)]


async def test_messages_that_belong_together_fill_whole_batches_in_their_order() -> None:
    """Across calls too."""
    link = Link()
    to, together = sender(link), Together()
    found = await asyncio.gather(in_order(to, together, *"abcdef"), in_order(to, together, *"ghijklmn"))
    assert [list(part) for part in found] == [[None] * 6, [None] * 8]
    assert link.batches == [list("abcdefghij"), list("klmn")]


@pytest.mark.parametrize("wrong", ["odd", "far too large for a batch"])
async def test_nothing_goes_behind_one_that_was_not_taken(wrong: str) -> None:
    """Of those that belong together, whatever was wrong with it; what went before is there."""
    link = Link()
    to, together = sender(link), Together()
    found, others = await asyncio.gather(in_order(to, together, "a", wrong, "b", "c"), send_all(to, "x"))
    assert [one is None for one in found] == [True, False, False, False]
    assert others == [None]
    assert sorted(text for batch in link.batches for text in batch) == ["a", "x"]
    assert "one before it" in str((await in_order(to, together, "later"))[0])


async def test_a_refused_batch_is_the_end_of_those_behind_it() -> None:
    """Of the next call as well, that waited already."""
    link = Link()
    link.failures.append(ServiceBusConnectionError(message="away"))
    to, together = sender(link), Together()
    found = await asyncio.gather(in_order(to, together, *"abcdefghijkl"), in_order(to, together, "m"))
    assert all(one is not None for part in found for one in part)
    assert link.batches == []
    assert await in_order(to, Together(), "n") == [None]


async def test_too_many_that_belong_together_are_refused_from_there_on() -> None:
    """What was let in before goes."""
    link = Link()
    to = sender(link, max_waiting=3)
    found = await in_order(to, Together(), *"abcde")
    assert [one is None for one in found] == [False] * 5 or [one is None for one in found[3:]] == [False] * 2


async def test_what_is_not_confirmed_in_time_is_not_sent_later() -> None:
    """The rest of them neither."""
    link = Link()
    link.may_end.clear()
    to, together = sender(link, timeout=0.01), Together()
    found = await in_order(to, together, *"abcdefghijkl")
    assert all(one is not None and "confirm" in one for one in found)
    link.may_end.set()
    assert await in_order(to, Together(), "n") == [None]
    assert [text for batch in link.batches for text in batch if text in "kl"] == []
