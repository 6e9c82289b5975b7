"""Which dead letters a command line means, and the note of who has seen one whole."""

import argparse
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from shared.dead_letters import Decision, Filters, Note, StoredLetter
from shared.messages import Handler, Projection, Registry

from .arguments import filters_of

__all__ = ["WrongUse", "chosen", "group_by", "named", "not_one", "revealed", "some_of"]

_TRIES = 5


class WrongUse(Exception):
    """The command line can't be followed; the message says why."""


async def chosen(known: argparse.Namespace, composition: Composition) -> AsyncIterator[StoredLetter]:
    """The letters that ids or filters name; none that fails again while this runs is chosen twice."""
    now = composition.now()
    left = known.limit
    async for letter in _by_ids(known, composition) if known.ids else _by_filters(known, composition, now):
        if left == 0:
            return
        yield letter
        left = None if left is None else left - 1


async def _by_ids(known: argparse.Namespace, composition: Composition) -> AsyncIterator[StoredLetter]:
    found = [(name, await named(composition, name)) for name in known.ids]
    for name, letters in found:
        if len(letters) != 1:
            raise WrongUse(not_one(name, letters))
    for _, letters in found:
        yield letters[0]


async def _by_filters(
    known: argparse.Namespace, composition: Composition, now: datetime
) -> AsyncIterator[StoredLetter]:
    filters = filters_of(known, now=now)
    until = min(filters.until, now) if filters.until is not None else now
    async for letter in composition.get(dead_letter_store).select(replace(filters, until=until)):
        yield letter


async def named(composition: Composition, name: str) -> list[StoredLetter]:
    """By the id or its beginning, or by a message id."""
    store, wanted = composition.get(dead_letter_store), name.lower()
    if len(wanted) >= 4 and set(wanted) <= set("0123456789abcdef") and (found := await store.starting_with(wanted)):
        return found
    with contextlib.suppress(ValueError):
        filters = Filters(message_id=str(UUID(name)))
        return [letter async for letter in some_of(store.select(filters), 10)]
    if len(wanted) < 4 or not set(wanted) <= set("0123456789abcdef"):
        raise WrongUse(f"{name!r} is no id of a dead letter: give 4 or more of its hex digits, or a message id")
    return []


async def some_of(letters: AsyncIterator[StoredLetter], count: int) -> AsyncIterator[StoredLetter]:
    for _ in range(count):
        try:
            yield await anext(letters)
        except StopAsyncIteration:
            return


def not_one(name: str, letters: list[StoredLetter]) -> str:
    if not letters:
        return f"there is no dead letter {name}"
    return f"{name} means more than one dead letter: {', '.join(letter.id for letter in letters)}"


def group_by(name: str, registry: Registry) -> Callable[[Mapping[str, Any]], str]:
    """What a group has in common, from a dead letter's columns."""
    if name != "integration":
        column = {"event-type": "eventType"}.get(name, name)
        return lambda row: str(row.get(column) or "none")
    handled = {
        one.event_type: integration.name
        for integration in registry.integrations
        for one in chain[Handler | Projection](integration.projections, integration.handlers)
    }
    return lambda row: handled.get(str(row.get("eventType")), "none")


async def revealed(letter: StoredLetter, order: Decision, composition: Composition) -> StoredLetter:
    """The dead letter with the note that somebody has seen all of it, which is kept before anything is shown."""
    for _ in range(_TRIES):
        note = Note(at=composition.now(), action="revealed", by=order.by, reason=order.reason)
        noted = await composition.get(dead_letter_store).change(
            letter, status=letter.status, note=note, at=letter.changed_at
        )
        if noted is not None:
            return noted
        (letter,) = await composition.get(dead_letter_store).starting_with(letter.id)
    raise WrongUse("the dead letter keeps changing, so that it can't be noted who has seen it; try again")
