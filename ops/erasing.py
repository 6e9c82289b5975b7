"""The operator's command line for forgetting a person: what was readable, the erasure, and the proof that it isn't."""

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.encryption import TOKENS_TABLE, data_keys, fresh_subject_keys, subject_keys, token_keys
from functions.composition.platform import platform
from functions.composition.read_models import VIEWS_TABLE
from functions.composition.state import STATE_TABLE
from shared.encryption import Erasure, Keyring, KeysUnavailable
from shared.environment import WrongSettings
from shared.messages import Registry
from shared.privacy import StoreSurvey, survey
from shared.secrets import SecretError
from shared.settings import Settings
from shared.tables import Query, Table

from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient

__all__ = ["main"]

PROGRAM = "erase"
DONE, INCOMPLETE, WRONG, UNREACHABLE = 0, 1, 2, 3

_EVENTS_SECONDS = 60.0
_QUIET_SECONDS = 5.0
_FORGOTTEN_AFTER = 60
"""How long an instance may still have the key: `fresh_seconds` of SubjectKeys."""


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    try:
        known = _parse(sys.argv[1:] if arguments is None else arguments)
        return asyncio.run(_run(known, load_settings(known.settings, environment)))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except KeyboardInterrupt:
        return _say("stopped; run it again to see what is left.", 130)
    except (_Wrong, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, KeysUnavailable, SecretError, OSError, TimeoutError) as error:
        return _say(
            f"a store or the vault doesn't answer ({cause_of(error)}); nothing more was done. Is the stack running?",
            UNREACHABLE,
        )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("subject", help="whom to forget, as the model's field has it: a customer's id")
    parser.add_argument("--kind", default="customer", help="what the subject is (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="only show what is readable now")
    parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: the user's name)")
    parser.add_argument("--reason", default="", help="why; needed unless it is a dry run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    known = parser.parse_args(arguments)
    if not known.dry_run and not (known.reason.strip() and known.by.strip()):
        raise _Wrong("an erasure can't be undone: say --by WHO and --reason WHY, or --dry-run")
    return known


async def _run(known: argparse.Namespace, settings: Settings) -> int:
    composition = Composition(settings, Registry([]))
    try:
        return await _erase(known, composition)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _erase(known: argparse.Namespace, composition: Composition) -> int:
    tokens, keys = composition.get(token_keys), composition.get(subject_keys)
    if tokens is None or keys is None:
        raise _Wrong("nobody can be erased: SLUICE_DATA_KEY and SLUICE_TOKEN_KEY aren't set")
    subjects = (await tokens.tokens()).candidates(known.kind, known.subject)
    before = await _survey(composition, subjects)
    erased: list[Erasure] = []
    if not known.dry_run:
        for subject in subjects:
            done = await keys.erase(subject, by=known.by, reason=known.reason)
            if done is not None:
                erased.append(done)
    after = before if known.dry_run else await _survey(composition, subjects)
    left = sum(found.openable for found in after)
    report = {
        "subject": subjects[0],
        "kind": known.kind,
        "dryRun": known.dry_run,
        "erased": [{"keyId": one.key_id, "at": one.at.isoformat()} for one in erased],
        "before": [asdict(found) for found in before],
        "after": [asdict(found) for found in after],
        "proven": bool(erased) and left == 0,
    }
    sys.stdout.write((json.dumps(report, indent=2) if known.json else _text(report, before, after, erased)) + "\n")
    return DONE if known.dry_run or (erased and left == 0) else INCOMPLETE


async def _survey(composition: Composition, subjects: Sequence[str]) -> list[StoreSurvey]:
    """Look through every store with keys that nobody has in memory."""
    keys, subjects_keys = composition.get(data_keys), fresh_subject_keys(composition)
    assert keys is not None
    assert subjects_keys is not None
    keyring, clients = Keyring(keys, subjects_keys), composition.get(platform)
    stores = {
        "state": _tables(clients.tables(STATE_TABLE)),
        "read models": _tables([clients.table(VIEWS_TABLE)]),
        "tokens": _tables([clients.table(TOKENS_TABLE)]),
        "event log": _events(clients.event_reader()),
    }
    return [await survey(name, texts, subjects=subjects, keyring=keyring) for name, texts in stores.items()]


async def _tables(tables: Sequence[Table]) -> AsyncIterator[tuple[str, str]]:
    for table in tables:
        try:
            async for row in table.query(Query()):
                yield f"{row['PartitionKey']}/{row['RowKey']}", " ".join(_texts(row))
        finally:
            await table.close()


def _texts(row: Mapping[str, Any]) -> list[str]:
    return [
        value if isinstance(value, str) else value.decode("latin-1")
        for value in row.values()
        if isinstance(value, str | bytes)
    ]


async def _events(client: "EventHubConsumerClient") -> AsyncIterator[tuple[str, str]]:
    """Every event that the hub still has, partition by partition, as far as it went when this began."""
    async with client, asyncio.timeout(_EVENTS_SECONDS):
        for partition in await client.get_partition_ids():
            async for name, text in _partition(client, partition):
                yield name, text


async def _partition(client: "EventHubConsumerClient", partition: str) -> AsyncIterator[tuple[str, str]]:
    end = (await client.get_partition_properties(partition))["last_enqueued_sequence_number"]
    if end < 0:
        return
    queue: asyncio.Queue[Any] = asyncio.Queue(1_000)

    async def take(_: Any, event: Any) -> None:
        await queue.put(event)

    reading = asyncio.create_task(client.receive(take, partition_id=partition, starting_position="-1"))
    try:
        while True:
            async with asyncio.timeout(_QUIET_SECONDS):
                event = await queue.get()
            yield f"{partition}/{event.sequence_number}", event.body_as_str(encoding="latin-1")
            if event.sequence_number >= end:
                return
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _text(
    report: Mapping[str, Any], before: Sequence[StoreSurvey], after: Sequence[StoreSurvey], erased: Sequence[Erasure]
) -> str:
    lines = [f"subject {report['subject']} ({report['kind']})", ""]
    lines.append(
        f"{'store':<12} {'looked at':>10} {'encrypted':>9} {'readable':>9}" + ("" if erased else "  for example")
    )
    for index, found in enumerate(before):
        line = f"{found.store:<12} {found.seen:>10} {found.values:>9} {found.openable:>9}"
        if erased:
            now = after[index]
            line += f"  → {now.openable} ({', '.join(f'{code} {count}' for code, count in now.refused.items()) or '-'})"
        else:
            line += f"  {', '.join(found.samples[:2])}"
        lines.append(line)
    lines.append("")
    if report["dryRun"]:
        lines.append("nothing was changed")
    elif not erased:
        lines.append("the subject has no key: nothing was encrypted under it, or it was erased before")
    else:
        ids = ", ".join(one.key_id for one in erased)
        proof = "none of it can be opened any more" if report["proven"] else "some of it can still be opened"
        lines.append(f"deleted the key {ids}: {proof}; instances that had it forget it within {_FORGOTTEN_AFTER} s")
    return "\n".join(lines)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
