"""`audit`: list what operators did, and check that nobody changed the list. Their commands add to it by `audited`."""

import argparse
import asyncio
import contextlib
import getpass
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.audit import audit_chain
from shared.audit import AuditRecord, Finding, StoredRecord, check
from shared.environment import WrongSettings
from shared.messages import Registry

from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["audited", "login", "main"]

PROGRAM = "audit"
WHOLE, BROKEN, WRONG, UNREACHABLE = 0, 1, 2, 3
_SECONDS = 60.0
_TRIES = 3
_KNOWN = re.compile(r"(\d{1,12}):([0-9a-f]{64})")


@contextlib.asynccontextmanager
async def audited(
    composition: Composition, verb: str, *, by: str, reason: str, **about: Any
) -> AsyncIterator[dict[str, Any]]:
    """Record a command before it is done, and how it ended; what the block puts into the mapping is in the second.

    Nothing is done that can't be recorded. Where the second record can't be written, the command was done all the
    same, and a line on standard error tells so; the first one shows that it was begun.
    """
    chain, run = composition.get(audit_chain), uuid4().hex
    known = {"run": run, "verb": verb, "by": by, "login": login(), "reason": reason}
    await chain.add(AuditRecord(phase="begun", about=about, **known))
    result: dict[str, Any] = {}
    outcome = "done"
    try:
        yield result
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        try:
            await chain.add(AuditRecord(phase="ended", about={"outcome": outcome, **result}, **known))
        except (AzureError, OSError, TimeoutError) as error:
            sys.stderr.write(f"{verb}: the audit record of its end can't be written ({cause_of(error)})\n")


def login() -> str:
    """Whose process this is, on which machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a user without a name, as containers have
        return socket.gethostname()


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """List or check the trail; return the exit code: 1 where it is broken."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=("list", "verify"), help="list the records, or check the chain")
    parser.add_argument("--verb", help="list: only this command's records")
    parser.add_argument("--limit", type=int, default=50, help="list: how many of the newest (default %(default)s)")
    parser.add_argument(
        "--known",
        action="append",
        default=[],
        metavar="NUMBER:HASH",
        help="verify: what the log line `audit` says of a record; shows a chain that was written anew or cut",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    try:
        known = parser.parse_args(arguments)
        hashes = [_KNOWN.fullmatch(text) for text in known.known]
        if not all(hashes) or known.limit < 1:
            parser.error("--known is NUMBER:HASH with 64 hex digits, --limit at least 1")
        return asyncio.run(_run(known, {int(one[1]): one[2] for one in hashes if one}, environment))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"the audit table doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


async def _run(known: argparse.Namespace, hashes: Mapping[int, str], environment: Mapping[str, str] | None) -> int:
    composition = Composition(load_settings(known.settings, environment), Registry([]))
    try:
        async with asyncio.timeout(_SECONDS):
            chain = composition.get(audit_chain)
            for _ in range(_TRIES):  # what is added between the two reads isn't missing
                records = [one async for one in chain.records()]
                head = await chain.head()
                if (finding := check(records, head, known=hashes)) is None:
                    break
    finally:
        with contextlib.suppress(Exception):
            await composition.close()
    if known.what == "list":
        return _list(known, records)
    return _verify(known, records, finding)


def _list(known: argparse.Namespace, records: list[StoredRecord]) -> int:
    chosen = [(one, _content(one)) for one in records]
    shown = [pair for pair in chosen if known.verb in (None, pair[1].get("verb"))][-known.limit :]
    if known.json:
        rows = [{"number": one.number, "hash": one.hash, "record": one.text} for one, _ in shown]
        sys.stdout.write(json.dumps({"total": len(records), "records": rows}, indent=2) + "\n")
        return WHOLE
    for one, content in shown:
        parts = [content.get(name, "") for name in ("at", "verb", "phase", "by", "login", "reason")]
        about = json.dumps(content.get("about", {}))
        line = "  ".join(str(part) for part in (one.number, *parts, about))
        sys.stdout.write("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) + "\n")
    if not shown:
        sys.stdout.write("nothing was recorded\n")
    return WHOLE


def _verify(known: argparse.Namespace, records: list[StoredRecord], finding: Finding | None) -> int:
    if known.json:
        broken = None if finding is None else {"number": finding.number, "what": finding.what}
        last = records[-1].hash if records else None
        sys.stdout.write(json.dumps({"records": len(records), "last": last, "broken": broken}, indent=2) + "\n")
    elif finding is not None:
        sys.stdout.write(f"the audit trail is broken: {finding.what}\n")
    else:
        sys.stdout.write(f"the audit trail is whole: {len(records)} records\n")
    return WHOLE if finding is None else BROKEN


def _content(record: StoredRecord) -> dict[str, Any]:
    try:
        return record.content()
    except ValueError:
        return {}


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
