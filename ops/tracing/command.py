"""The command line of `trace`: finds what an id names, and shows it."""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ops.settings_file import WrongSettingsFile, add_settings, load_slice
from shared.environment import WrongSettings
from shared.telemetry import Name
from shared.telemetry.settings import TelemetrySettings
from shared.telemetry.span_store import Found

from .kql import find_query, trace_query
from .mermaid import sequence, topology
from .sources import MOST_SPANS, LocalSource, NoSpans, Source, message_of
from .tree import Tree, of_message, tree_of
from .waterfall import waterfall

__all__ = ["main"]

PROGRAM = "trace"
OK, MANY, WRONG, NOT_FOUND = 0, 1, 2, 3
CANDIDATES = 20
NEWEST = 20_000
"""Spans that a topology is drawn from."""
_WORKSPACE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
FOLLOW_SECONDS, FOLLOW_EVERY = 600.0, 1.0
_ID = re.compile(r"[^\x00-\x1f\x7f]{1,512}")
_ENDED = ("done", "dead", "duplicate", "answered", "failed")


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where several traces fit, 3 where none does."""
    try:
        parser = _parser()
        known = parser.parse_args(arguments)
        if (known.id is None) != known.topology:
            parser.error("name an ID, or ask for the --topology")
        if known.kql:
            return _kql(known, sys.stdout)
        source = _source(known, environment)
        if known.topology:
            sys.stdout.write(topology(source.newest(NEWEST)))
            return OK
        return _show(known, source, sys.stdout)
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongSettings, WrongSettingsFile) as error:
        return _complain(str(error), WRONG)
    except NoSpans as error:
        return _complain(str(error), NOT_FOUND)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="of a message, operation, correlation or trace, a business key, or the beginning of it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--mermaid", action="store_true", help="print a sequence diagram for a ticket")
    form.add_argument("--kql", action="store_true", help="print the same question for Application Insights")
    form.add_argument("--topology", action="store_true", help="what calls what, of the newest spans, as a diagram")
    parser.add_argument("--workspace", metavar="GUID", help="ask the Log Analytics workspace of an app in Azure")
    parser.add_argument("--days", type=int, default=30, metavar="N", help="how far back the workspace looks")
    parser.add_argument("--follow", action="store_true", help="show it again and again until it has ended")
    parser.add_argument("--attempts", action="store_true", help="show each attempt, also those that were retried")
    add_settings(parser)
    return parser


def _source(known: argparse.Namespace, environment: Mapping[str, str] | None) -> Source:
    if known.workspace is not None:
        from .workspace import WorkspaceSource, sign_in  # signing in loads a lot

        if not _WORKSPACE.fullmatch(known.workspace):
            raise NoSpans("a workspace's id is a GUID: `az monitor log-analytics workspace show --query customerId`.")
        return WorkspaceSource(known.workspace, sign_in(), days=max(1, known.days))
    settings = load_slice(TelemetrySettings, known.settings, environment)
    if settings.span_store is None:
        raise NoSpans("these settings name no span store (SLUICE_SPAN_STORE).")
    return LocalSource(Path(settings.span_store))


def _show(
    known: argparse.Namespace, source: Source, out: TextIO, *, sleep: Callable[[float], None] = time.sleep
) -> int:
    text = known.id.strip().encode("utf-8", "replace").decode()
    if not _ID.fullmatch(text):
        return _complain("an id has 1 to 512 characters, and no control characters among them", WRONG)
    found = _find(source, text)
    if not found:
        return _complain(f"nothing is known of {text!r}: it may be older than what is kept, or not sampled", NOT_FOUND)
    traces = {one.trace for one in found}
    if len(traces) > 1:
        return _candidates(source, found, out, as_json=known.json)
    until = time.monotonic() + FOLLOW_SECONDS
    while True:
        tree = _tree(source, found[0])
        out.write(_as_json(tree) if known.json else sequence(tree) if known.mermaid else _as_text(tree, known, out))
        if not known.follow or tree.outcome in _ENDED or time.monotonic() > until:
            return OK
        out.flush()
        sleep(FOLLOW_EVERY)


def _kql(known: argparse.Namespace, out: TextIO) -> int:
    """What to paste into the workspace's query window: by which traces an id is found, and each one's spans."""
    text = message_of(known.id) or known.id
    if not _ID.fullmatch(text):
        return _complain("an id has 1 to 512 characters, and no control characters among them", WRONG)
    is_trace = re.fullmatch(r"[0-9a-f]{32}", text) is not None
    out.write((trace_query(text, most=MOST_SPANS) if is_trace else find_query(text, most=CANDIDATES)) + "\n")
    return OK


def _find(source: Source, text: str) -> list[Found]:
    found = source.find(text, most=CANDIDATES + 1)
    if not found and (message := message_of(text)) is not None:
        found = source.find(message, most=CANDIDATES + 1)
    return found or source.find(text.lower(), most=CANDIDATES + 1)


def _tree(source: Source, found: Found) -> Tree:
    spans = source.trace(found.trace)
    if not spans:
        raise NoSpans(f"the spans of trace {found.trace} are no longer kept.")
    tree = tree_of(found.trace, spans)
    return of_message(tree, found.value) if found.kind == "message" else tree


def _candidates(source: Source, found: Sequence[Found], out: TextIO, *, as_json: bool) -> int:
    """What an id may mean, one line each, the newest first."""
    rows: list[dict[str, Any]] = []
    for one in found[:CANDIDATES]:
        spans = source.trace(one.trace)
        messages = (span.attributes.get(Name.MESSAGE_ID) for span in spans)
        began = datetime.fromtimestamp(min(span.started for span in spans) / 1e9, UTC) if spans else None
        rows.append(
            {
                "kind": one.kind,
                "value": one.value,
                "message": next((str(message) for message in messages if message), ""),
                "trace": one.trace,
                "startedAt": None if began is None else began.isoformat(timespec="milliseconds"),
                "outcome": tree_of(one.trace, spans).outcome if spans else None,
            }
        )
    more = len(found) > CANDIDATES
    if as_json:
        out.write(json.dumps({"candidates": rows, "more": more}, indent=2) + "\n")
        return MANY
    out.write("several traces fit; name one of them:\n")
    for row in rows:
        out.write(
            f"  {row['startedAt'] or '':<30} {row['kind']:<12} {row['value'][:60]:<38} {row['message']:<38} "
            f"{row['outcome'] or '':<9} {row['trace']}\n"
        )
    if more:
        out.write("  … and more\n")
    return MANY


def _as_text(tree: Tree, known: argparse.Namespace, out: TextIO) -> str:
    width = shutil.get_terminal_size((120, 40)).columns
    unicode = (getattr(out, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
    return waterfall(tree, width=max(80, width), every_attempt=known.attempts, unicode=unicode) + "\n"


def _as_json(tree: Tree) -> str:
    spans = [asdict(node.span) for _, node in tree.nodes() if node.span is not None]
    waits = [{"for": node.wait, "started": node.started, "ended": node.ended} for _, node in tree.nodes() if node.wait]
    whole = {
        "trace": tree.trace,
        "outcome": tree.outcome,
        "attempts": len(tree.attempts),
        "spans": spans,
        "waits": waits,
    }
    return json.dumps(whole, indent=2) + "\n"


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
