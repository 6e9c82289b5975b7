"""Renders the status page: what is in the namespace right now, read-only, refreshing by itself."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Any

__all__ = ["render_status"]

_REFRESH_SECONDS = 2
_COUNTS = ("active", "locked", "scheduled", "deferred", "deadLetter", "enqueuedTotal")
_HEADINGS = ("Active", "Locked", "Scheduled", "Deferred", "Dead letters", "Enqueued in all")

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #66727f; --line: #dfe4ea; --card: #fff; --page: #f4f6f8;
  --good: #0f7b4f; --warn: #9a5b00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #94a0ad; --line: #2c343d; --card: #1a2027;
  --page: #12161b; --good: #4cc38a; --warn: #f1a10d; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 66rem; margin: 0 auto; }
header { display: flex; flex-wrap: wrap; gap: .25rem 2rem; align-items: baseline; margin-bottom: 1.5rem; }
h1 { font-size: 1.35rem; margin: 0; }
header p { margin: 0; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1.5rem; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem 1rem;
  min-width: 8rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin-bottom: 1.25rem;
  overflow-x: auto; }
h2 { font-size: 1rem; margin: 0; padding: .7rem 1rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem 1rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; font-size: .8rem; }
tbody tr + tr td { border-top: 1px solid var(--line); }
td.none { color: var(--soft); }
td.busy { color: var(--good); font-weight: 600; }
td.wait { color: var(--warn); font-weight: 600; }
td.dead { color: var(--bad); font-weight: 600; }
td.child { padding-left: 2.25rem; }
p.empty { color: var(--soft); padding: .7rem 1rem; margin: 0; }
footer { color: var(--soft); font-size: .85rem; }
a { color: inherit; }
"""
_EMPHASIS = {"active": "busy", "locked": "busy", "scheduled": "wait", "deferred": "wait", "deadLetter": "dead"}


def render_status(snapshot: Mapping[str, Any], now: datetime) -> str:
    """The page for a snapshot of the form of `/status.json`."""
    queues, topics, hubs = (snapshot.get(kind, {}) for kind in ("queues", "topics", "eventHubs"))
    counted = [*queues.values(), *(sub for topic in topics.values() for sub in topic["subscriptions"].values())]
    figures = {
        "Connections": snapshot.get("connections", 0),
        "Messages ready or locked": sum(counts["active"] for counts in counted),
        "Dead letters": sum(counts["deadLetter"] for counts in counted),
        "Events kept": sum(part["count"] for hub in hubs.values() for part in hub["partitions"].values()),
    }
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">
<title>Emulator status</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header><h1>Service Bus and Event Hubs emulator</h1><p>{now:%Y-%m-%d %H:%M:%S %Z}</p></header>
<dl>{"".join(f"<div><dt>{label}</dt><dd>{_number(value)}</dd></div>" for label, value in figures.items())}</dl>
{_section("Queues", _HEADINGS, _queue_rows(queues))}
{_section("Topics and subscriptions", _HEADINGS, _topic_rows(topics))}
{_section("Event hubs", ("First sequence", "Last sequence", "Events kept", "Consumer groups"), _hub_rows(hubs))}
<footer>Read-only, refreshed every {_REFRESH_SECONDS} seconds. The same as data:
<a href="/status.json">status.json</a></footer>
</main>
</body>
</html>
"""


def _section(title: str, headings: Iterable[str], rows: list[str]) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="empty">None</p></section>'
    head = "<th>Name</th>" + "".join(f"<th>{heading}</th>" for heading in headings)
    return (
        f"<section><h2>{title}</h2><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _queue_rows(queues: Mapping[str, Any]) -> list[str]:
    return [_row(f"<td>{escape(name)}</td>", counts) for name, counts in queues.items()]


def _topic_rows(topics: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, topic in topics.items():
        rows.append(f'<tr><td>{escape(name)}</td><td colspan="{len(_COUNTS)}"></td></tr>')
        rows += [
            _row(f'<td class="child">{escape(child)}</td>', counts) for child, counts in topic["subscriptions"].items()
        ]
    return rows


def _row(name_cell: str, counts: Mapping[str, int]) -> str:
    cells = "".join(_cell(counts[key], _EMPHASIS.get(key, "")) for key in _COUNTS)
    return f"<tr>{name_cell}{cells}</tr>"


def _hub_rows(hubs: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, hub in hubs.items():
        groups = escape(", ".join(hub["consumerGroups"]))
        rows.append(f'<tr><td>{escape(name)}</td><td colspan="3"></td><td>{groups}</td></tr>')
        for partition, part in hub["partitions"].items():
            cells = _cell(part["firstSequence"]) + _cell(part["lastSequence"]) + _cell(part["count"], "busy")
            rows.append(f'<tr><td class="child">Partition {escape(partition)}</td>{cells}<td></td></tr>')
    return rows


def _cell(number: int | None, emphasis: str = "") -> str:
    kind = emphasis if number else "none"
    return f'<td class="{kind}">{_number(number)}</td>'


def _number(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
