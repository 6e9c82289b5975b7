"""Runs the demonstration from the first post to the summary, with a bar for every stage."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from local.demo.carrier import Parcels
from local.demo.invoices import Invoice, compose, group_invoices, read_invoices
from local.demo.lake import LakeFailed, caught_up
from local.demo.reconciliation import Figures, Heard, Progress, progress, reconcile
from local.demo.replay import Refusal, Replay, replay
from local.demo.rows import InvoiceFileError, parse_rows
from local.demo.sample import sample_csv
from local.demo.stores import BatchLogs, Kept, Queues, Stores, StoreUnreachable
from local.demo.subscriber import Subscriber
from local.demo.summary import as_json, show
from local.demo.target import Target

__all__ = ["DemoFailed", "DemoOptions", "load_invoices", "run_demo"]

_STALL_SECONDS = 90.0
_SHORTEST_PAUSE = 0.5
_STAGES = ("posted", "processed", "published", "read model")
_LABELS = "labels"

_State = tuple[int, Progress, Queues, Parcels, int]
"""How many messages were answered, how far they are, what queues and carriers hold, and how much inbox and customer."""

_NOTHING: _State = (0, Progress(0, 0, 0), Queues(0, 0), Parcels(), 0)


class DemoFailed(Exception):
    """The demonstration cannot be done; the message is one sentence that says why."""


@dataclass(frozen=True)
class DemoOptions:
    """What to replay: a file, or the generated sample; all of it or the first `limit` invoices."""

    orders: Path | None = None
    limit: int | None = None
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit must be at least 1, not {self.limit}.")
        if self.json is not None and (self.json.is_dir() or not self.json.absolute().parent.is_dir()):
            raise ValueError(f"--json {self.json} is not a file that can be written.")


def load_invoices(options: DemoOptions) -> list[Invoice]:
    """The invoices to replay.

    Raises
    ------
    DemoFailed
        If the file cannot be read as invoices.
    """
    try:
        if options.orders is None:
            invoices = group_invoices(parse_rows(sample_csv(), "sample"))
        else:
            invoices = read_invoices(options.orders)
    except InvoiceFileError as error:
        raise DemoFailed(str(error)) from error
    return invoices[: options.limit]


async def run_demo(options: DemoOptions, invoices: Sequence[Invoice], target: Target, console: Console) -> bool:
    """Replay, wait until everything has come to its end, print and write the summary; say whether it reconciles."""
    logs = BatchLogs(target.logs)
    refused = [
        Refusal(invoice.number, "unreadable line", f"invoice {invoice.number}, {invoice.problem}")
        for invoice in invoices
        if invoice.problem is not None
    ]
    messages = [compose(invoice) for invoice in invoices if invoice.problem is None]
    answers = Replay()
    began = time.monotonic()
    async with Stores(target) as stores, _customer(target) as customer:
        before, earlier = frozenset((await stores.parcels()).labels), frozenset((await stores.look()).inbox)
        posting = asyncio.create_task(replay(messages, target.urls, target.token, answers), name="replay")
        try:
            kept, parcels, stalled = await _follow(posting, answers, len(messages), stores, customer, before, console)
            elapsed = time.monotonic() - began
            claims, events, lake = await asyncio.gather(stores.claims(), stores.events(), caught_up(target))
            heard = await _heard(customer, parcels, before)
        except LakeFailed as error:
            raise DemoFailed(f"At the end, {error}.") from error
        except StoreUnreachable as error:
            raise DemoFailed(f"A store of the stack cannot be read: {type(error).__name__}: {error}") from error
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
    figures = reconcile(
        answers, refused, kept, claims, events, logs.duplicates(), elapsed, stalled, parcels, heard, earlier, lake
    )
    show(figures, console)
    _write(figures, options.json)
    return figures.reconciled


@contextlib.asynccontextmanager
async def _customer(target: Target) -> AsyncIterator[Subscriber | None]:
    """Whoever is notified of orders that ship; nobody where none does."""
    if not target.carrier:
        yield None
        return
    async with Subscriber(target) as customer:
        yield customer


def _unheard(customer: Subscriber | None, parcels: Parcels, before: frozenset[str]) -> set[str]:
    """Orders of this run that were shipped, and that the customer hasn't been notified of."""
    return set() if customer is None else parcels.labels.keys() - before - set(customer.received.values())


async def _heard(customer: Subscriber | None, parcels: Parcels, before: frozenset[str]) -> Heard:
    if customer is None:
        return Heard()
    return Heard(len(customer.received), await customer.pending(), frozenset(_unheard(customer, parcels, before)))


async def _follow(
    posting: asyncio.Task[None],
    answers: Replay,
    total: int,
    stores: Stores,
    customer: Subscriber | None,
    before: frozenset[str],
    console: Console,
) -> tuple[Kept, Parcels, str | None]:
    """Look at the stores until all is done or nothing moves any more; return the last look, and where it stands."""
    with Bars(
        TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bars:
        tasks = {stage: bars.add_task(stage, total=total) for stage in _STAGES}
        last_move, last_state, kept, parcels = time.monotonic(), _NOTHING, Kept(), Parcels()
        while True:
            looked, posted, state = time.monotonic(), posting.done(), last_state
            if posted:
                posting.result()
            # A store that is away for a moment, as when its process is started again, is looked at later.
            with contextlib.suppress(*StoreUnreachable):
                queues, kept = await stores.queues(), await stores.look()
                parcels = await stores.parcels()
                heard = 0 if customer is None else len(customer.received)
                state = (answers.answered, progress(answers.accepted, kept), queues, parcels, len(kept.inbox) + heard)
                _advance(bars, tasks, state, len(answers.accepted) if posted else total)
                idle = posted and queues.waiting == 0 and state[1].is_complete(len(answers.accepted))
                if idle and not parcels.expected:
                    return kept, parcels, None
                # One thing leads to another, a webhook to a message: it is over once two looks find the same.
                all_heard = not parcels.pending and not _unheard(customer, parcels, before)
                if idle and all_heard and not kept.unpublished and state == last_state:
                    return kept, parcels, None
            if state != last_state:
                last_move, last_state = looked, state
            elif looked - last_move > _STALL_SECONDS:
                return kept, parcels, _standing(total, *state[:3])
            # Looking costs the stores time that the app needs: most of the time we do not look.
            await asyncio.sleep(max(_SHORTEST_PAUSE, 4 * (time.monotonic() - looked)))


def _advance(bars: Bars, tasks: dict[str, TaskID], state: _State, expected: int) -> None:
    posted, reached, _, parcels, _ = state
    if parcels.expected:
        if _LABELS not in tasks:
            tasks[_LABELS] = bars.add_task(_LABELS, total=None)
        bars.update(tasks[_LABELS], completed=len(parcels.labels))
    bars.update(tasks["posted"], completed=posted)
    for stage, value in zip(_STAGES[1:], (reached.processed, reached.published, reached.shown), strict=True):
        bars.update(tasks[stage], completed=value, total=expected)


def _standing(total: int, answered: int, state: Progress, queues: Queues) -> str:
    return (
        f"nothing has moved for {_STALL_SECONDS:.0f} s: {answered} of {total} posted, {state.processed} processed, "
        f"{state.published} published, {state.shown} in the read model, {queues.waiting} waiting "
        f"in the queues, {queues.dead} in their dead-letter queues"
    )


def _write(figures: Figures, path: Path | None) -> None:
    if path is None:
        return
    try:
        path.write_text(as_json(figures), encoding="utf-8")
    except OSError as error:
        raise DemoFailed(f"{path} cannot be written: {error.strerror or error}.") from error
