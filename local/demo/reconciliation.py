"""Compares what was accepted with what is kept; everything is counted over sets of message ids.

Counting ids makes the figures the same however often a message was sent, delivered or published on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from local.demo.carrier import Parcels
from local.demo.invoices import Message
from local.demo.lake import Lake
from local.demo.replay import Refusal, Replay
from local.demo.stores import Kept

__all__ = ["Figures", "Heard", "Lane", "Progress", "percentile", "progress", "reconcile"]

_WEBHOOK = "webhook:"


@dataclass(frozen=True)
class Lane:
    """How one lane did: messages, and milliseconds from acceptance to the end of processing."""

    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Figures:
    """The outcome of a run. `problems` is empty if and only if everything reconciles."""

    input: int
    orders: int
    credit_notes: int
    accepted: int
    rejected: int
    processed: int
    dead_lettered: int
    duplicates_suppressed: int
    lost: int
    claim_checked: int
    events_published: int
    events_repeated: int
    read_model_rows: int
    lanes: Mapping[str, Lane]
    elapsed_seconds: float
    labels: int = 0
    duplicate_labels: int = 0
    label_calls: int = 0
    webhooks_received: int = 0
    webhooks_delivered: int = 0
    webhooks_pending: int = 0
    lake: Lake | None = None
    refusals: Sequence[Refusal] = field(default=())
    problems: Sequence[str] = field(default=())

    @property
    def reconciled(self) -> bool:
        """Whether nothing is missing and nothing is left over."""
        return not self.problems


@dataclass(frozen=True)
class Heard:
    """What the customer was notified of: events, deliveries that are still under way, orders that are missing."""

    delivered: int = 0
    pending: int = 0
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Progress:
    """How far the accepted messages have come, each a number of them."""

    processed: int
    published: int
    shown: int

    def is_complete(self, accepted: int) -> bool:
        """Whether each of them has come to its end."""
        return min(self.processed, self.published, self.shown) >= accepted


def progress(accepted: Mapping[str, Message], kept: Kept) -> Progress:
    """Count how far the accepted messages are; a dead letter has come to the end of its way."""
    dead = _dead(accepted, kept)
    done = [key for key in accepted if key in kept.inbox and key not in dead]
    shown = sum(1 for key in done if _view_key(accepted[key]) in kept.views)
    published = sum(1 for key in done if key not in kept.unpublished)
    return Progress(len(done) + len(dead), published + len(dead), shown + len(dead))


def reconcile(
    replay: Replay,
    refused_before: Sequence[Refusal],
    kept: Kept,
    claims: set[str],
    events: Mapping[str, int],
    duplicates: int,
    elapsed_seconds: float,
    stalled: str | None,
    parcels: Parcels | None = None,
    heard: Heard | None = None,
    earlier: Collection[str] = (),
    lake: Lake | None = None,
) -> Figures:
    """The figures of a run, and every way in which they do not fit.

    `stalled` says where it came to a halt. `earlier` are the messages that an earlier run has had processed: where that
    had no carrier, its orders have no labels. `lake` is None where there is none.
    """
    accepted = replay.accepted
    dead = _dead(accepted, kept)
    done = {key for key in accepted if key in kept.inbox and key not in dead}
    lost = set(accepted) - done - dead
    of_accepted = {event: times for event, times in events.items() if event.rpartition(":")[0] in accepted}
    expected_views = {_view_key(accepted[key]) for key in done}
    refusals = [*refused_before, *replay.refused]
    credit_notes = sum(message.is_credit_note for message in accepted.values())
    parcels, heard = parcels or Parcels(), heard or Heard()
    orders = {accepted[key].number for key in done if not accepted[key].is_credit_note}
    told = {one.key for one in kept.inbox.values() if one.event_type.startswith(_WEBHOOK) and one.status == "done"}
    figures = Figures(
        input=len(accepted) + len(refusals) + len(replay.failed),
        orders=len(accepted) - credit_notes,
        credit_notes=credit_notes,
        accepted=len(accepted),
        rejected=len(refusals),
        processed=len(done),
        dead_lettered=len(dead),
        duplicates_suppressed=duplicates,
        lost=len(lost),
        claim_checked=len(claims & set(accepted)),
        events_published=len(of_accepted),
        events_repeated=sum(times - 1 for times in of_accepted.values()),
        read_model_rows=len(expected_views & kept.views),
        lanes=_lanes(accepted, kept),
        elapsed_seconds=elapsed_seconds,
        labels=len(orders & parcels.labels.keys()),
        duplicate_labels=parcels.duplicates(orders),
        label_calls=parcels.calls,
        webhooks_received=len(orders & told),
        webhooks_delivered=heard.delivered,
        webhooks_pending=heard.pending,
        lake=lake,
        refusals=refusals,
    )
    silent = done - {event.rpartition(":")[0] for event in of_accepted}
    problems = [stalled] if stalled is not None else []
    problems += _problems(replay, dead, lost, silent, expected_views - kept.views)
    problems += _parcel_problems(parcels, orders, {accepted[key].number for key in done.difference(earlier)}, told)
    if lake is not None:
        problems += _lake_problems(lake, len(of_accepted))
    if heard.missing:
        problems.append(f"{len(heard.missing)} shipments weren't delivered, such as that of order {min(heard.missing)}")
    return replace(figures, problems=tuple(problems))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed; 0 of none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _problems(
    replay: Replay, dead: set[str], lost: set[str], silent: set[str], missing_views: set[tuple[str, str]]
) -> list[str]:
    problems = [f"invoice {failed.number}: {failed.reason} {failed.detail}" for failed in replay.failed[:3]]
    if replay.failed:
        problems.append(f"{len(replay.failed)} invoices were neither accepted nor refused for what they say")
    if not replay.accepted:
        problems.append("nothing was accepted: is there an integration that takes orders?")
    elif dead == set(replay.accepted):
        problems.append("nothing was processed: every accepted message is dead")
    if lost:
        problems.append(f"{len(lost)} accepted messages are neither processed nor dead, such as {min(lost)}")
    if silent:
        problems.append(f"{len(silent)} processed messages published no event, such as {min(silent)}")
    if missing_views:
        view, key = min(missing_views)
        problems.append(f"{len(missing_views)} rows are missing from the read models, such as {view}/{key}")
    return problems


def _parcel_problems(parcels: Parcels, orders: set[str], new: set[str], told: set[str]) -> Iterator[str]:
    """Each accepted order has one label at the carrier, and what the carrier tells of it has arrived."""
    if missing := parcels.missing(orders & new):
        yield f"{len(missing)} orders have no label at the carrier, such as {min(missing)}"
    if twice := parcels.duplicates(orders):
        yield f"{twice} labels were made for orders that have one already"
    if unheard := (orders & parcels.labels.keys()) - told if parcels.expected else set():
        yield f"{len(unheard)} webhooks of the carrier didn't arrive, such as that of order {min(unheard)}"


def _lake_problems(lake: Lake, published: int) -> Iterator[str]:
    """Each event of an accepted order or credit note is a row of silver, beside those of earlier runs."""
    yield from lake.problems
    if lake.accepted < published:
        yield f"the lake has {lake.accepted} orders and credit notes of the {published} that were published"


def _dead(accepted: Mapping[str, Message], kept: Kept) -> set[str]:
    """Messages whose end is a dead letter; one that was processed before stays processed."""
    said = {key for key in accepted if key in kept.inbox and kept.inbox[key].status == "dead"}
    return said | {key for key in accepted if key in kept.dead_letters and key not in kept.inbox}


def _view_key(message: Message) -> tuple[str, str]:
    return ("credit-notes" if message.is_credit_note else "orders", message.number)


def _lanes(accepted: Mapping[str, Message], kept: Kept) -> dict[str, Lane]:
    seconds: dict[str, list[float]] = {}
    for key in accepted:
        if key in kept.inbox:
            seconds.setdefault(kept.inbox[key].lane, []).append(kept.inbox[key].seconds)
    counts = Counter({lane: len(values) for lane, values in seconds.items()})
    return {
        lane: Lane(
            count=counts[lane],
            p50_ms=round(1_000 * percentile(sorted(seconds[lane]), 0.5), 1),
            p99_ms=round(1_000 * percentile(sorted(seconds[lane]), 0.99), 1),
        )
        for lane in sorted(counts)
    }
