"""The operator's command line for all that is known of a person: from the stores that an erasure reaches."""

import argparse
import asyncio
import contextlib
import csv
import getpass
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.encryption import data_keys, fresh_subject_keys, token_keys
from shared.dead_letters import Note
from shared.encryption import Keyring, KeysUnavailable
from shared.environment import WrongSettings
from shared.lake.bronze import BronzeError
from shared.lake.tables import LakeError
from shared.messages import discover, rfc3339
from shared.privacy import Person, in_clear
from shared.secrets import SecretError
from shared.settings import Settings

from .auditing import audited
from .failures import cause_of
from .forgetting import stores
from .places import Place
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main"]

PROGRAM = "export"
DONE, INCOMPLETE, WRONG, UNREACHABLE = 0, 1, 2, 3
_COLUMNS = ("store", "place", "field", "value")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 where something couldn't be read."""
    try:
        known = _parse(sys.argv[1:] if arguments is None else arguments)
        return asyncio.run(_run(known, load_settings(known.settings, environment)))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), WRONG)
    except (AzureError, KeysUnavailable, SecretError, LakeError, BronzeError, OSError, TimeoutError) as error:
        return _say(f"a store or the vault doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    parser.add_argument("subject", help="about whom, as the model's field has it: a customer's id")
    parser.add_argument("--kind", default="customer", help="what the subject is (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder, for export.json and export.csv")
    parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: the user's name)")
    parser.add_argument("--reason", required=True, help="why; kept in the audit trail")
    add_settings(parser)
    return parser.parse_args(arguments)


async def _run(known: argparse.Namespace, settings: Settings) -> int:
    import integrations  # the users' modules: their models say which fields name a person

    composition = Composition(settings, discover(integrations))
    try:
        return await _export(known, composition)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _export(known: argparse.Namespace, composition: Composition) -> int:
    person = await _person(known, composition)
    folder = _made(known.out)
    named = {"subject": person.tokens[0] if person.tokens else "", "kind": known.kind}
    async with audited(composition, PROGRAM, by=known.by, reason=known.reason, **named) as result:
        report = await _report(known, composition, person)
        result |= {"found": len(report["found"]), "unread": sum(report["unread"].values())}
        _write(folder / "export.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        _write(folder / "export.csv", _csv(report["found"]))
    unread = sum(report["unread"].values())
    sys.stdout.write(f"{PROGRAM}: {len(report['found'])} places in {folder}\n")
    for store, count in report["unread"].items():
        _say(f"{count} in {store} can't be read", INCOMPLETE)
    return INCOMPLETE if unread else DONE


def _made(name: str) -> Path:
    """A new folder, which nobody else on the machine can read."""
    folder = Path(name)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise _Wrong(f"{folder} can't be made: {error.strerror}") from None
    return folder


async def _person(known: argparse.Namespace, composition: Composition) -> Person:
    keys = composition.get(token_keys)
    tokens = () if keys is None else (await keys.tokens()).candidates(known.kind, known.subject)
    return Person(value=known.subject, tokens=tokens, names=composition.registry.subjects(known.kind))


async def _report(known: argparse.Namespace, composition: Composition, person: Person) -> dict[str, Any]:
    """Every place that leads to the person, its fields decrypted; and by store how much couldn't be read."""
    keys, subject_keys = composition.get(data_keys), fresh_subject_keys(composition)
    keyring = None if keys is None or subject_keys is None else Keyring(keys, subject_keys)
    note = Note(at=composition.now(), action=PROGRAM, by=known.by, reason=known.reason)
    found: list[dict[str, Any]] = []
    unread: dict[str, int] = {}
    for store, places in stores(composition, person, note).items():
        try:
            async for place in places:
                if place.text is None:
                    unread[store] = unread.get(store, 0) + 1
                elif person.is_in(place.text):
                    shown, missing = await _shown(place, keyring)
                    found.append({"store": store, "place": place.name, "content": shown})
                    unread |= {store: unread.get(store, 0) + missing} if missing else {}
        except TimeoutError:  # the rest of this store can't be read; what was found is written all the same
            unread[store] = unread.get(store, 0) + 1
    return {
        "subject": known.subject,
        "kind": known.kind,
        "at": rfc3339(composition.now()),
        "found": found,
        "unread": unread,
    }


async def _shown(place: Place, keyring: Keyring | None) -> tuple[Any, int]:
    clear = await in_clear(place.content if place.content is not None else place.text or "", place.bound_to, keyring)
    return clear.value, len(clear.unread)


def _csv(found: list[dict[str, Any]]) -> str:
    """A line for each value (RFC 4180); what a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for one in found:
        for field, value in _values(one["content"]):
            shown = value if isinstance(value, str) else json.dumps(value)
            quoted = f"'{shown}" if isinstance(value, str) and shown.startswith(_FORMULA) else shown
            writer.writerow([one["store"], one["place"], field, quoted])
    return text.getvalue()


def _values(content: Any) -> Iterator[tuple[str, Any]]:
    """Each value with the JSON pointer to it."""
    waiting = [("", content)]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, dict | list) and value:
            members = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{pointer}/{name}", member) for name, member in reversed(list(members))]
        else:
            yield pointer, value


def _write(file: Path, text: str) -> None:
    """For nobody else on the machine."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
