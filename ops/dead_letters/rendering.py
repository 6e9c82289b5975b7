"""Dead letters for people and for programs: tables, one letter in full, JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.dead_letters import Group, Report, RunState, StoredLetter
from shared.messages import write_json

__all__ = [
    "as_json",
    "counted",
    "group_json",
    "groups_table",
    "letter_json",
    "letter_text",
    "letters_table",
    "report_json",
    "run_json",
    "runs_table",
    "trend",
]

_REASON_WIDTH = 60
_SHORT_ID = 12
_BARS = "▁▂▃▄▅▆▇█"
_WHOLE = ("id", "fingerprint", "status", "last failure", "lane", "open", "all")
_SHOWN_BODY = 20_000


def letters_table(letters: Sequence[StoredLetter]) -> str:
    """One line for each dead letter; the rest of it is in `letter_text`."""
    head = ("id", "status", "last failure", "lane", "code", "event type", "key", "reason")
    return _table(
        head,
        [
            (
                letter.id[:_SHORT_ID],
                letter.status.value,
                _short_time(letter.last_failure),
                letter.lane or letter.source,
                letter.code,
                letter.event_type or "",
                letter.key or "",
                _short(letter.reason),
            )
            for letter in letters
        ],
    )


def trend(per_hour: Sequence[int]) -> str:
    """A bar for each hour, the oldest first: as high as its share of the worst hour; a point where nothing failed."""
    most = max(per_hour, default=0)
    return "".join("·" if count == 0 else _BARS[max(0, -(-count * len(_BARS) // most) - 1)] for count in per_hour)


def groups_table(groups: Sequence[Group], *, by: str = "fingerprint") -> str:
    """One line for each group."""
    head = (by, "open", "all", "first failure", "last failure", "24 hours", "code", "event types", "newest reason")
    return _table(
        head,
        [
            (
                group.name,
                str(group.open),
                str(group.count),
                _short_time(group.first_failure),
                _short_time(group.last_failure),
                trend(group.per_hour),
                group.code,
                ", ".join(sorted(group.event_types)),
                _short(group.reason),
            )
            for group in groups
        ],
    )


def letter_text(letter: StoredLetter, body: bytes, changes: Sequence[tuple[str, Any, Any]] = ()) -> str:
    """All that is known of one dead letter, and what edits changed: path, value before, value after."""
    fields = {
        "id": letter.id,
        "status": f"{letter.status.value}, replayed {letter.replays} times",
        "message id": letter.message_id,
        "event type": letter.event_type,
        "key": letter.key,
        "lane": letter.lane,
        "source": f"{letter.source} {json.dumps(dict(letter.position)) if letter.position else ''}".rstrip(),
        "category": letter.category,
        "code": letter.code,
        "reason": letter.reason,
        "fingerprint": letter.fingerprint,
        "attempts": str(letter.attempts),
        "first failure": _when(letter.first_failure),
        "last failure": _when(letter.last_failure),
        "trace id": letter.trace_id,
        "correlation id": letter.correlation_id,
        "claim": letter.claim,
    }
    lines = [f"{name:<15} {_printable(value)}" for name, value in fields.items() if value is not None]
    lines += ["", "history"]
    lines += [
        f"  {_when(note.at)}  {note.action} by {_printable(note.by)}: {_printable(note.reason)}"
        for note in letter.history
    ] or ["  nothing was done yet"]
    if letter.edited:
        lines += ["", "changes: what a replay sends differently", *(_change_text(*change) for change in changes)]
    lines += ["", "properties", *(_printable(f"  {name} = {value!r}") for name, value in letter.properties.items())]
    lines += ["", f"message ({letter.body_size} bytes)", _body_text(body)]
    return "\n".join(lines)


def letter_json(letter: StoredLetter) -> dict[str, Any]:
    """A dead letter without its body."""
    values = {
        "id": letter.id,
        "status": letter.status.value,
        "messageId": letter.message_id,
        "eventType": letter.event_type,
        "key": letter.key,
        "lane": letter.lane,
        "source": letter.source,
        "position": dict(letter.position),
        "category": letter.category,
        "code": letter.code,
        "reason": letter.reason,
        "fingerprint": letter.fingerprint,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "edits": None if letter.edit is None else letter.edit.number,
        "edited": letter.edited or None,
        "firstFailure": _iso(letter.first_failure),
        "lastFailure": _iso(letter.last_failure),
        "changedAt": _iso(letter.changed_at),
        "traceId": letter.trace_id,
        "correlationId": letter.correlation_id,
        "claim": letter.claim,
        "bodySize": letter.body_size,
        "properties": {name: value if _is_plain(value) else str(value) for name, value in letter.properties.items()},
        "history": [
            {"at": _iso(note.at), "action": note.action, "by": note.by, "reason": note.reason}
            for note in letter.history
        ],
    }
    return {name: value for name, value in values.items() if value is not None}


def group_json(group: Group) -> dict[str, Any]:
    """A group with its counts."""
    return {
        "name": group.name,
        "fingerprint": group.fingerprint,
        "count": group.count,
        "open": group.open,
        "category": group.category,
        "code": group.code,
        "eventTypes": sorted(group.event_types),
        "firstFailure": _iso(group.first_failure),
        "lastFailure": _iso(group.last_failure),
        "reason": group.reason,
        "perHour": group.per_hour,
    }


def report_json(report: Report) -> dict[str, Any]:
    """What a run did and what became of it."""
    return {
        "handedOver": report.handed_over,
        "actions": {action.value: count for action, count in sorted(report.actions.items())},
        "outcomes": {outcome.value: count for outcome, count in sorted(report.outcomes.items())},
        "stopped": report.stopped,
        "errors": report.errors,
    }


def as_json(value: object) -> str:
    """JSON for programs."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _change_text(path: str, before: Any, after: Any) -> str:
    old, new = (_short(_printable("nothing" if one is None else write_json(one))) for one in (before, after))
    return f"  {_printable(path) or 'everything'}: {old} → {new}"


def run_json(run: RunState, now: datetime) -> dict[str, Any]:
    """A replay of many, with its progress."""
    return {
        "run": run.run,
        "by": run.by,
        "reason": run.reason,
        "beganAt": _iso(run.began),
        "seenAt": _iso(run.seen),
        "state": _state(run, now),
        **run.report,
    }


def runs_table(runs: Sequence[RunState], now: datetime) -> str:
    """One line for each replay of many."""
    head = ("run", "began", "last sign", "handed over", "done", "failed again", "by", "state")
    rows = []
    for run in runs:
        found = run.report.get("outcomes", {})
        counts = (str(run.report.get("handedOver", 0)), str(found.get("done", 0)), str(found.get("failed", 0)))
        rows.append((run.run, _short_time(run.began), _short_time(run.seen), *counts, run.by, _state(run, now)))
    return _table(head, rows)


def _state(run: RunState, now: datetime) -> str:
    if run.ended is not None:
        return run.ended if run.ended == "done" or run.ended.startswith("failed") else f"stopped: {run.ended}"
    return "killed: the same replay goes on where it was" if run.lost(now) else "going on"


def counted(actions: Mapping[str, int]) -> str:
    """One line for each action with how often it was done."""
    return "\n".join(f"{count:>7}  {action}" for action, count in sorted(actions.items()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; on a terminal `rich` draws them, where it is installed."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        try:
            return _rich_table(head, cells)
        except ImportError:  # a local requirement: where the app is deployed it isn't there
            pass
    widths = [max(len(row[column]) for row in [head, *cells]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(head):
        widest = max(len(row[number]) for row in rows)
        # An id that is cut can't be copied; what is long may be folded.
        table.add_column(name, no_wrap=name in _WHOLE, min_width=widest if name in _WHOLE else None, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: what a message says is never markup
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _printable(text: str) -> str:
    """One line without control characters: a message must not steer the terminal of whoever reads it."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _body_text(body: bytes) -> str:
    shown = body[:_SHOWN_BODY]
    try:
        text = write_json(json.loads(body, parse_float=Decimal), indent=2)[:_SHOWN_BODY]
    except (ValueError, ArithmeticError, RecursionError):
        text = shown.decode("utf-8", "backslashreplace")
    lines = [_printable(line) for line in text.splitlines()]
    if len(body) > _SHOWN_BODY:
        lines.append("… the whole message: show ID --body FILE")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= _REASON_WIDTH else f"{text[: _REASON_WIDTH - 1]}…"


def _when(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _short_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%m-%d %H:%M:%SZ")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool | Mapping)
