"""The command line's words: which dead letters are meant, who decides, and how fast."""

import argparse
import getpass
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ops.settings_file import add_settings
from shared.dead_letters import Filters, Ramp, Status
from shared.messages import parse_rfc3339

__all__ = ["ALL_RUNS", "DECIDING", "about", "filters_of", "moment_of", "order_by", "parse", "ramp_of"]

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_UNDECIDED = frozenset({Status.OPEN, Status.REPLAYING})
_ANY = "any"
_NAMED = ("status", "category", "code", "event_type", "key", "lane", "source", "fingerprint", "message_id")
_FILTERS = (*_NAMED, "since", "until")
_RECORDED_IDS = 50
ALL_RUNS = "all"
DECIDING = ("replay", "discard", "archive", "restore", "edit")
GROUPS = ("fingerprint", "category", "code", "integration", "event-type", "lane")

_DESCRIPTION = """\
Look at messages that could not be processed, play them again, or discard them.
Works on the stores that the app's settings name, in Azure as on the local stack."""

_EXIT_CODES = """\
exit codes: 0 all done; 1 something failed, came back or wasn't found, or nothing was replayed or discarded;
2 wrong use or settings; 3 nothing answers"""


def parse(arguments: Sequence[str], *, program: str) -> argparse.Namespace:
    """Read a command line; what is wrong ends the process with a clear line and exit code 2."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _looking(commands)
    _deciding(commands)
    known = parser.parse_args(arguments)
    if known.command in DECIDING:
        _require_choice(parser, known)
    if known.command == "edit":
        _require_one_change(parser, known)
    if known.command == "show" and known.reveal and not (known.reason or "").strip():
        parser.error("show --reveal: --reason is needed; it is kept in the dead letter's history")
    return known


def _looking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = commands.add_parser("list", help="the newest dead letters that match")
    _add_filters(listing)
    listing.add_argument("--limit", type=_count, default=50, help="how many to show (default 50)")
    groups = commands.add_parser("groups", help="dead letters counted by where they failed, with their trend")
    groups.add_argument(
        "--by", choices=GROUPS, default="fingerprint", help="what counts together (default %(default)s)"
    )
    _add_filters(groups)
    replays = commands.add_parser("replays", help="how far replays are, and how the last ones ended")
    show = commands.add_parser("show", help="one dead letter, with its history and message")
    show.add_argument("id", help="its id or the beginning of it, or a message id")
    show.add_argument("--body", metavar="FILE", help="write the message byte for byte to a file, - for standard output")
    show.add_argument("--reveal", action="store_true", help="show protected fields too; kept in its history")
    show.add_argument("--reason", help="why they have to be seen")
    show.add_argument("--by", help="who looks (default: your login name)")
    for parser in (listing, groups, show, replays):
        _add_json(parser)


def _deciding(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    replay = commands.add_parser("replay", help="send dead letters on their way again")
    discard = commands.add_parser("discard", help="settle dead letters for good")
    archive = commands.add_parser("archive", help="put dead letters away; they can be restored for some time")
    archive.add_argument("--window", type=_days, default=_days("7d"), metavar="DAYS", help="for so long (default 7d)")
    restore = commands.add_parser("restore", help="undo archive")
    edit = commands.add_parser("edit", help="change what messages say, so that their replay can succeed")
    _changes(edit)
    for parser in (replay, discard, archive, restore, edit):
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids or the beginnings of them, or message ids")
        _add_filters(parser)
        parser.add_argument("--all", action="store_true", help="every dead letter that isn't settled")
        parser.add_argument("--limit", type=_count, help="stop after this many")
        parser.add_argument("--reason", help="why; kept in the history of each")
        parser.add_argument("--by", help="who decides (default: your login name)")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, change nothing")
        _add_json(parser)
    replay.add_argument(
        "--stop",
        nargs="?",
        const=ALL_RUNS,
        metavar="RUN",
        help="stop replays that go on, or the one that `replays` names; what they haven't sent stays open",
    )
    usual = Ramp()
    replay.add_argument("--rate", type=float, default=usual.rate, help=f"messages a second (default {usual.rate:g})")
    replay.add_argument(
        "--canary",
        type=_count,
        default=usual.canary,
        help=f"size of the first wave; each one after is twice as large (default {usual.canary})",
    )
    replay.add_argument(
        "--max-failures",
        type=float,
        default=usual.max_share,
        metavar="SHARE",
        help=f"stop where more than this share of a wave comes back, 0 to 1 (default {usual.max_share:g})",
    )
    replay.add_argument(
        "--patience",
        type=float,
        default=usual.patience,
        metavar="SECONDS",
        help=f"how long to wait for a wave's outcomes; 0: don't look (default {usual.patience:g})",
    )


def _changes(edit: argparse.ArgumentParser) -> None:
    change = edit.add_argument_group("the change (default: $VISUAL or $EDITOR opens the payload of one dead letter)")
    one = change.add_mutually_exclusive_group()
    one.add_argument("--patch", metavar="FILE", help="JSON: a list is an RFC 6902 patch, an object an RFC 7396 one")
    one.add_argument("--payload", metavar="FILE", help="the whole new payload of one dead letter")
    one.add_argument("--original", action="store_true", help="undo: have a replay send the message as it came")
    edit.add_argument("--reveal", action="store_true", help="show protected fields too; kept in its history")


def _require_one_change(parser: argparse.ArgumentParser, known: argparse.Namespace) -> None:
    if not known.patch and not known.original and (len(known.ids) != 1 or known.all):
        parser.error("edit: without --patch or --original say which one dead letter: its id")
    if known.reveal and not (known.reason or "").strip():
        parser.error("edit --reveal: --reason is needed; it is kept in the dead letter's history")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    filters = parser.add_argument_group("filters (all given must hold)")
    filters.add_argument(
        "--status",
        action="append",
        choices=[*(status.value for status in Status if status is not Status.UNKNOWN), _ANY],
        help="may be given more than once (default: open and replaying)",
    )
    for name, meaning in {
        "category": "transient, throttled, partial, permanent, business, invalid, expired",
        "code": "the error code, such as VALIDATION_ERROR",
        "event-type": "the message's event type",
        "key": "the aggregate's key",
        "lane": "high, normal, low",
        "source": "the road it came by: lane:<lane> or an event stream",
        "fingerprint": "where it failed, as `groups` shows",
        "message-id": "the message's id",
    }.items():
        filters.add_argument(f"--{name}", help=meaning)
    for name, meaning in {"since": "failed last at or after", "until": "failed last before"}.items():
        filters.add_argument(f"--{name}", metavar="WHEN", help=f"{meaning} this moment: RFC 3339, or 2h, 3d ago")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _require_choice(parser: argparse.ArgumentParser, known: argparse.Namespace) -> None:
    chosen = known.ids or known.all or any(getattr(known, name) for name in _FILTERS)
    if not chosen and getattr(known, "stop", None) is None:
        parser.error(f"{known.command}: say which dead letters: ids, filters or --all")
    stops = getattr(known, "stop", None) is not None
    if (stops or not known.dry_run) and not (known.reason or "").strip():
        parser.error(f"{known.command}: --reason is needed; it is kept in each dead letter's history")
    if stops and known.dry_run:
        parser.error("replay: --stop and --dry-run don't go together; `replays` shows what goes on")


def filters_of(known: argparse.Namespace, *, now: datetime) -> Filters:
    """The filters of a command line.

    Raises
    ------
    ValueError
        A moment that can't be read.
    """
    statuses = known.status or []
    usual = frozenset({Status.ARCHIVED}) if known.command == "restore" else _UNDECIDED
    return Filters(
        status=frozenset() if _ANY in statuses else frozenset(Status(status) for status in statuses) or usual,
        category=known.category,
        code=known.code,
        event_type=known.event_type,
        key=known.key,
        lane=known.lane,
        source=known.source,
        fingerprint=known.fingerprint,
        message_id=known.message_id,
        since=moment_of(known.since, now=now),
        until=moment_of(known.until, now=now),
    )


def ramp_of(known: argparse.Namespace) -> Ramp:
    """How a replay grows; raises ValueError for what can't be."""
    usual = Ramp()
    return Ramp(
        canary=known.canary,
        largest=max(known.canary, usual.largest),
        max_share=known.max_failures,
        patience=known.patience,
        rate=known.rate,
    )


def about(known: argparse.Namespace) -> dict[str, Any]:
    """Which dead letters a command line means, for the audit record."""
    ids = [known.id] if known.command == "show" else known.ids
    chosen = {name: getattr(known, name, None) for name in _FILTERS}
    return {
        "ids": ids[:_RECORDED_IDS],
        **({"more": len(ids) - _RECORDED_IDS} if len(ids) > _RECORDED_IDS else {}),
        "filters": {name: value for name, value in chosen.items() if value},
        **({"stop": known.stop} if getattr(known, "stop", None) else {}),
        **({"reveal": True} if getattr(known, "reveal", False) else {}),
    }


def order_by(known: argparse.Namespace) -> str:
    """Who decides: as given, else the login name."""
    return known.by or getpass.getuser()


def moment_of(text: str | None, *, now: datetime) -> datetime | None:
    """A moment as RFC 3339, or as a time ago: 90s, 15m, 2h, 3d."""
    if text is None:
        return None
    try:
        ago = _AGO.fullmatch(text.strip())
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no moment: write 2026-05-01T12:00:00Z, or 2h, 3d for a time ago") from None


def _days(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,4})d", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= 3_650:
        raise argparse.ArgumentTypeError("write days, such as 7d, from 1d to 3650d")
    return timedelta(days=int(found[1]))


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("must be from 1 to 1000000")
    return number
