"""`dev.py partners record|replay`: record what a partner answers, replay it, or compare it with today."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from local.partners.exchanging import compared, is_http, recorder, replayer
from shared.testing.recordings import Exchange, Redaction, WrongRecording, read_recording, write_recording

__all__ = ["main"]

OK, DRIFTED, WRONG = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Do what was asked for; 1 where a partner answers otherwise than it did."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.verb == "record":
            if not is_http(given.base_url):
                parser.error("--from is the partner's base URL: https://…")
            return asyncio.run(_record(given))
        partner, exchanges = read_recording(given.file.read_text(encoding="utf-8"))
        if given.against is None:
            return asyncio.run(_replay(partner, exchanges, given.port))
        if not is_http(given.against):
            parser.error("--against is a base URL: https://…")
        headers = dict(_header(one) for one in given.header)
        return asyncio.run(_compare(partner, exchanges, given.against, headers, all_methods=given.all))
    except (WrongRecording, ValueError, OSError) as error:
        print(f"dev.py partners: {error}", file=sys.stderr)  # noqa: T201
        return WRONG
    except KeyboardInterrupt:
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py partners", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    record = verbs.add_parser("record", help="stand between the app and a partner, and write down what is exchanged")
    record.add_argument("partner", help="its name, as it is declared")
    record.add_argument("--from", dest="base_url", required=True, metavar="URL", help="where the partner is")
    record.add_argument("--to", dest="file", type=Path, required=True, metavar="FILE", help="what is written")
    record.add_argument("--redact", action="append", default=[], metavar="FIELD", help="one more field to take out")
    record.add_argument("--texts", action="store_true", help="keep bodies that are neither JSON nor a form, too")
    record.add_argument("--port", type=int, default=0, help="where the app finds it (default: any free one)")
    replay = verbs.add_parser("replay", help="answer as was recorded; or with --against, report how answers differ")
    replay.add_argument("file", type=Path, metavar="FILE", help="a recording")
    replay.add_argument("--port", type=int, default=0, help="where the app finds it (default: any free one)")
    replay.add_argument("--against", metavar="URL", help="ask this partner, and compare")
    replay.add_argument(
        "--header", action="append", default=[], metavar="NAME=VARIABLE", help="a header from the environment: a key"
    )
    replay.add_argument("--all", action="store_true", help="--against: also what may change something")
    return parser


def _header(text: str) -> tuple[str, str]:
    name, _, variable = text.partition("=")
    if not variable or variable not in os.environ:
        raise ValueError(f"--header {name}=…: name a variable of the environment that is set")
    return name, os.environ[variable]


async def _record(given: argparse.Namespace) -> int:
    redaction, exchanges = Redaction(given.redact, texts=given.texts), list[Exchange]()

    def keep(exchange: Exchange) -> None:
        exchanges.append(redaction(exchange))
        given.file.write_text(write_recording(given.partner, exchanges), encoding="utf-8")
        print(f"{exchange.method} {exchanges[-1].path} {exchange.status}", flush=True)  # noqa: T201

    given.file.write_text(write_recording(given.partner, ()), encoding="utf-8")
    async with recorder(given.base_url, keep, port=given.port) as url:
        print(f"ready: start the app with SLUICE_PARTNER_URLS={given.partner}={url}", flush=True)  # noqa: T201
        await _stopped()
    print(f"{len(exchanges)} exchanges in {given.file}: read it before you commit it", flush=True)  # noqa: T201
    return OK


async def _replay(partner: str, exchanges: Sequence[Exchange], port: int) -> int:
    async with replayer(exchanges, port=port) as url:
        print(f"ready: start the app with SLUICE_PARTNER_URLS={partner}={url}", flush=True)  # noqa: T201
        await _stopped()
    return OK


async def _compare(
    partner: str, exchanges: Sequence[Exchange], base_url: str, headers: dict[str, str], *, all_methods: bool
) -> int:
    asked, drifted = 0, 0
    async for one, found in compared(exchanges, base_url, headers, all_methods=all_methods):
        if found is None:
            continue
        asked += 1
        drifted += bool(found)
        for line in found:
            print(f"{partner}: {one.method} {one.path}: {line}", flush=True)  # noqa: T201
    left = len(exchanges) - asked
    print(f"{asked} asked, {drifted} differ, {left} left out: they may change something", flush=True)  # noqa: T201
    return DRIFTED if drifted else OK


async def _stopped() -> None:
    stopped = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
