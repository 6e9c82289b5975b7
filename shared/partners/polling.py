"""Polling: what a partner doesn't tell by itself is asked for by the clock, by one instance at a time.

Each item becomes a message under an id of its own, so that what is read twice takes effect once. The place up to which
the partner's list was read is written down after everything before it is kept.
"""

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, get_type_hints
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel

from shared.jobs import JobRun, Schedule, WrongSchedule, parse_schedule
from shared.messages import Declaration, InvalidMessage, parse_rfc3339, rfc3339
from shared.resilience import SharedRow
from shared.telemetry import log_event

from .calls import Calls
from .errors import InvalidAnswer, PartnerRefused, PartnerUnavailable
from .partner import Partner

__all__ = ["Item", "Poll", "Polled", "Position", "poll_once"]

MOST_PAGES = 10_000
AT_ONCE = 32
SPARE = 10.0
"""Seconds left of a run with which no page is begun any more, beside the longest call's."""
LONGEST_POSITION = 8_192
_SCHEDULED = re.compile(r"[a-z][a-z0-9-]{0,62}")

Keep = Callable[[UUID, str, str, BaseModel], Awaitable[None]]
"""Keeps a message with this id, of an event type in a version."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a page.

    Attributes
    ----------
    identity:
        The same as often as this state of the thing is read, and another once it has changed: `S-17 2026-11-30T12:00Z`.
    data:
        The message, in the integration's own words.
    """

    identity: str
    data: BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a page holds.

    Attributes
    ----------
    items:
        In the partner's order; those of a page are kept side by side.
    position:
        Where the next poll begins: a time as RFC 3339 writes it, or the partner's own cursor; None leaves it.
    more:
        Query parameters of the next page; None where this is the last.
    """

    items: Sequence[Item] = ()
    position: str | None = None
    more: Mapping[str, str] | None = None


@dataclass(frozen=True, eq=False)
class Poll(Declaration):
    """What is asked of a partner by the clock; made by `@partner.polls(...)`.

    Parameters
    ----------
    name:
        With the partner's it names the job: `carrier.shipments`.
    page:
        The model of an answer.
    read:
        From a page to what it holds: a pure function of the partner's module.
    sends, version:
        The contract of the messages.
    since:
        The query parameter that carries the position; None where the whole list is read each time.
    overlap:
        How far before a position that is a time the next poll begins: for what the partner shows late.
    start:
        The position of the first poll; without, the parameter is left out.
    alone:
        The parameters of a next page stand alone, since the partner's cursor says the rest.
    holds:
        The partner keeps a request open until there is something (long polling): it is asked again at once.
    """

    partner: Partner
    name: str
    path: str
    _: KW_ONLY
    page: type[BaseModel]
    read: Callable[[Any], Polled]
    schedule: Schedule
    sends: str
    version: str = "1.0"
    since: str | None = None
    overlap: timedelta = timedelta(0)
    start: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    holds: bool = False

    @property
    def job(self) -> str:
        """The name of its job."""
        return f"{self.partner.name}.{self.name}"

    @classmethod
    def of(
        cls,
        partner: Partner,
        path: str,
        read: Callable[[Any], Polled],
        *,
        every: str,
        zone: str = "UTC",
        overlap: str = "0s",
        name: str | None = None,
        **options: Any,
    ) -> "Poll":
        """A poll, checked.

        Raises
        ------
        WrongSchedule, TypeError, ValueError
            It can't be done; the message names it.
        """
        called = name or getattr(read, "__name__", "").strip("_").replace("_", "-")
        if not _SCHEDULED.fullmatch(called):
            raise ValueError(f"{partner.name}: the poll {called!r}: use lower-case letters, digits and hyphens")
        parameters = list(inspect.signature(read).parameters)
        page = get_type_hints(read).get(parameters[0]) if parameters else None
        if not (isinstance(page, type) and issubclass(page, BaseModel)) or inspect.iscoroutinefunction(read):
            raise TypeError(
                f"{partner.name}.{called} must be a plain function of one parameter, annotated with a pydantic model"
            )
        try:
            schedule = parse_schedule(every, zone=zone)
            before = _seconds(overlap)
        except WrongSchedule as error:
            raise WrongSchedule(f"{partner.name}.{called}: {error}") from None
        return cls(
            partner, called, path, page=page, read=read, schedule=schedule, overlap=timedelta(seconds=before), **options
        )


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise WrongSchedule(f"the overlap {text!r} is no number of s, m, h or d")
    return int(found[1]) * units[found[2]]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a poll has come.

    Attributes
    ----------
    since:
        The position; empty before the first.
    etag, modified:
        For a list that is read whole: the validators of the answer that was read last.
    reached, page:
        Amid a pass: the furthest position of the pages so far, which counts once the last one is kept, and the query of
        the page that comes next, in JSON.
    """

    since: str = ""
    etag: str = ""
    modified: str = ""
    reached: str = ""
    page: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Position":
        """As a row keeps it."""
        return cls(*(str(values.get(name, "")) for name in ("since", "etag", "modified", "reached", "page")))

    def columns(self) -> dict[str, Any]:
        """As a row keeps it."""
        return asdict(self)


async def poll_once(poll: Poll, calls: Calls, row: SharedRow, keep: Keep, run: JobRun, *, now: datetime) -> bool:
    """Read what is new, page after page; True says that the time was over before the end.

    The position moves once the last page is kept: a partner may list in any order. Until then the row says which page
    comes next, so that a pass which is cut short goes on there.

    Raises
    ------
    PartnerError
        The partner fails, or an answer isn't what was agreed: the next run asks for the same page again, or, where the
        partner refuses it, begins the pass anew.
    """
    snapshot = await row.read()
    position = Position.of(snapshot.values)
    seen: set[tuple[tuple[str, str], ...]] = set()
    for _ in range(MOST_PAGES):
        if run.time_left() < poll.partner.timeouts.total + SPARE:
            return True
        more: Mapping[str, str] | None = json.loads(position.page) if position.page else None
        first = {} if poll.alone and more is not None else _since(poll, position)
        query = {**poll.query, **first, **(more or {})}
        place = tuple(sorted(query.items()))
        if place in seen and not poll.holds:
            raise InvalidAnswer(poll.partner.name, poll.name, "its pages go in a circle")
        seen.add(place)
        headers = _conditions(position) if poll.since is None and more is None else {}
        try:
            page = await calls.get(poll.path, poll.page, query=query, headers=headers, endpoint=poll.name)
        except PartnerUnavailable as away:
            log_event("poll put off", poll=poll.job, reason=str(away))
            return False
        except PartnerRefused as refused:
            if refused.status == 304:
                return False
            if more is not None:  # a place in a list may be forgotten meanwhile
                await row.write({**replace(position, reached="", page="").columns(), "polledAt": now}, snapshot)
            raise
        found = poll.read(page)
        await _keep_all(poll, found, keep)
        moved = _moved(poll, position, found, calls.headers, now)
        if moved != position:
            written = await row.write({**moved.columns(), "polledAt": now}, snapshot)
            if written is None:  # set by an operator, or another instance: what it says counts
                log_event("poll moved", poll=poll.job)
                return True
            position, snapshot = moved, written
        if found.more is None and not (poll.holds and found.items):
            return False
    return True


def _since(poll: Poll, position: Position) -> dict[str, str]:
    """The parameter that says from where on."""
    at = position.since or poll.start
    if poll.since is None or not at:
        return {}
    moment = _moment(at) if poll.overlap and position.since else None
    return {poll.since: at if moment is None else rfc3339(moment - poll.overlap)}


def _conditions(position: Position) -> dict[str, str]:
    named = {"If-None-Match": position.etag, "If-Modified-Since": position.modified}
    return {name: value for name, value in named.items() if value}


def _moved(poll: Poll, before: Position, found: Polled, headers: Mapping[str, str], now: datetime) -> Position:
    """The position after a page that is kept.

    Raises
    ------
    InvalidAnswer
        It is longer than a row takes.
    """
    reached = _furthest(poll, before, found, now)
    page = "" if found.more is None else json.dumps(dict(found.more), sort_keys=True)
    if max(len(reached), len(page)) > LONGEST_POSITION:
        raise InvalidAnswer(poll.partner.name, poll.name, "its position is too long")
    if page:
        return replace(before, reached=reached, page=page)
    if poll.since is None:  # of a list in pages no page's validators stand for all
        whole = {} if before.page else headers
        return Position("", whole.get("etag", ""), whole.get("last-modified", ""))
    return Position(reached)


def _furthest(poll: Poll, before: Position, found: Polled, now: datetime) -> str:
    """The later of two positions that are times, and never later than now; of others the partner's newest."""
    so_far = before.reached or before.since
    if found.position is None:
        return so_far
    old, new = _moment(so_far), _moment(found.position)
    if new is not None and new > now:
        return rfc3339(now) if old is None or old < now else so_far
    if old is not None and new is not None and new < old:
        if not before.reached:
            log_event("poll went back", poll=poll.job)
        return so_far
    return found.position


def _moment(text: str) -> datetime | None:
    try:
        return parse_rfc3339(text)
    except (ValueError, InvalidMessage):
        return None


async def _keep_all(poll: Poll, found: Polled, keep: Keep) -> None:
    """Raise unless everything is kept; what is kept twice is the same messages."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> None:
        async with places:
            identity = uuid5(NAMESPACE_URL, f"sluice:poll:{poll.job}:{item.identity}")
            await keep(identity, poll.sends, poll.version, item.data)

    for failure in await asyncio.gather(*map(one, found.items), return_exceptions=True):
        if failure is not None:
            raise failure
