"""Says how a run went: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from local.demo.reconciliation import Figures
from local.demo.replay import Refusal

__all__ = ["as_json", "show"]

_MOST_REASONS = 8


def as_json(figures: Figures) -> str:
    """The figures as one JSON object."""
    content: dict[str, Any] = {
        "input": figures.input,
        "orders": figures.orders,
        "creditNotes": figures.credit_notes,
        "accepted": figures.accepted,
        "rejected": figures.rejected,
        "processed": figures.processed,
        "deadLettered": figures.dead_lettered,
        "duplicatesSuppressed": figures.duplicates_suppressed,
        "lost": figures.lost,
        "claimChecked": figures.claim_checked,
        "eventsPublished": figures.events_published,
        "eventsRepeated": figures.events_repeated,
        "readModelRows": figures.read_model_rows,
        "labels": figures.labels,
        "duplicateLabels": figures.duplicate_labels,
        "labelCalls": figures.label_calls,
        "webhooksReceived": figures.webhooks_received,
        "webhooksDelivered": figures.webhooks_delivered,
        "webhooksPending": figures.webhooks_pending,
        "lakeRows": 0 if figures.lake is None else figures.lake.total,
        "lakeTables": {} if figures.lake is None else dict(figures.lake.rows),
        "lanes": {
            name: {"count": lane.count, "p50Ms": lane.p50_ms, "p99Ms": lane.p99_ms}
            for name, lane in figures.lanes.items()
        },
        "elapsedSeconds": round(figures.elapsed_seconds, 2),
        "rejections": [
            {"reason": reason, "count": count, "example": example} for reason, count, example in _reasons(figures)
        ],
        "reconciled": figures.reconciled,
        "problems": list(figures.problems),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def show(figures: Figures, console: Console) -> None:
    """Print the table, and what is wrong if anything is."""
    console.print(Group(_counts(figures), _lanes(figures)))
    if figures.reconciled:
        console.print(Text("Everything reconciles: nothing lost, nothing done twice.", style="bold green"))
    for problem in figures.problems:
        console.print(Text(f"Does not reconcile: {problem}", style="bold red"))


def _counts(figures: Figures) -> Table:
    table = Table(title="Orders", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim", overflow="fold")
    table.add_row("read", f"{figures.input:,}", "invoices")
    table.add_row(
        "accepted", f"{figures.accepted:,}", f"{figures.orders:,} orders, {figures.credit_notes:,} credit notes"
    )
    table.add_row("rejected", f"{figures.rejected:,}", "")
    reasons = _reasons(figures)
    for reason, count, example in reasons[:_MOST_REASONS]:
        table.add_row("", f"{count:,}", f"{reason} (as in {example})")
    if len(reasons) > _MOST_REASONS:
        rest = sum(count for _, count, _ in reasons[_MOST_REASONS:])
        table.add_row("", f"{rest:,}", "for other reasons")
    table.add_row("processed", f"{figures.processed:,}", "")
    table.add_row("dead-lettered", f"{figures.dead_lettered:,}", "")
    table.add_row("lost", f"{figures.lost:,}", "")
    table.add_row("duplicates suppressed", f"{figures.duplicates_suppressed:,}", "deliveries without effect")
    table.add_row("claim-checked", f"{figures.claim_checked:,}", "payloads too large for the queue")
    repeated = f"{figures.events_repeated:,} repeated, told apart by their ids" if figures.events_repeated else ""
    table.add_row("events published", f"{figures.events_published:,}", repeated)
    table.add_row("read model rows", f"{figures.read_model_rows:,}", "")
    if figures.labels:
        table.add_row("labels", f"{figures.labels:,}", f"at the carrier, by {figures.label_calls:,} calls")
        table.add_row("webhooks received", f"{figures.webhooks_received:,}", "of the carrier")
        table.add_row("webhooks delivered", f"{figures.webhooks_delivered:,}", "to a customer who subscribed")
    if figures.lake is not None:
        tables = sum(1 for count in figures.lake.rows.values() if count)
        table.add_row("lake rows", f"{figures.lake.total:,}", f"in {tables} tables of silver and gold")
    table.add_row("took", f"{figures.elapsed_seconds:.1f} s", "")
    return table


def _lanes(figures: Figures) -> Table:
    table = Table(title="\nLanes", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in ("messages", "p50", "p99"):
        table.add_column(heading, justify="right")
    for name, lane in figures.lanes.items():
        table.add_row(name, f"{lane.count:,}", f"{lane.p50_ms:,.0f} ms", f"{lane.p99_ms:,.0f} ms")
    return table


def _reasons(figures: Figures) -> list[tuple[str, int, str]]:
    """Why invoices were refused: the reason, how many, and one of them; the most frequent first."""
    counts = Counter(refusal.reason for refusal in figures.refusals)
    examples: dict[str, Refusal] = {}
    for refusal in figures.refusals:
        examples.setdefault(refusal.reason, refusal)
    return [(reason, count, examples[reason].detail) for reason, count in counts.most_common()]
