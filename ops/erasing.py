"""The operator's command line for forgetting a person: what was readable, the erasure, and the proof that it isn't."""

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.encryption import data_keys, fresh_subject_keys, subject_keys, token_keys
from shared.dead_letters import Note
from shared.encryption import Erasure, Keyring, KeysUnavailable, SubjectKeys
from shared.environment import WrongSettings
from shared.lake.bronze import BronzeError
from shared.lake.tables import LakeError
from shared.messages import discover
from shared.privacy import Person, StoreSurvey, survey
from shared.secrets import SecretError
from shared.settings import Settings

from .auditing import audited
from .failures import cause_of
from .forgetting import EVENT_LOG, stores
from .places import Place
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main"]

PROGRAM = "erase"
DONE, INCOMPLETE, WRONG, UNREACHABLE = 0, 1, 2, 3

_PASSES = 3
"""What changes while it is being taken out is looked at again."""
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
    except (AzureError, KeysUnavailable, SecretError, LakeError, BronzeError, OSError, TimeoutError) as error:
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
    import integrations  # the users' modules: their models say which fields name a person

    composition = Composition(settings, discover(integrations))
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
    person = Person(value=known.subject, tokens=subjects, names=composition.registry.subjects(known.kind))
    note = Note(at=composition.now(), action="erased", by=known.by, reason=known.reason or "dry run")
    before = await _survey(composition, person, note)
    after, erased = before, list[Erasure]()
    if not known.dry_run:
        named = {"subject": subjects[0], "kind": known.kind}
        async with audited(composition, PROGRAM, by=known.by, reason=known.reason, **named) as result:
            erased = await _erase_keys(keys, subjects, by=known.by, reason=known.reason)
            for _ in range(_PASSES):
                for name, places in stores(composition, person, note).items():
                    if name != EVENT_LOG:
                        await _forget(places, person)
                after = await _survey(composition, person, note)
                if not _left(after):
                    break
            result |= {"keys": [one.key_id for one in erased], "left": _left(after)}
    done = not known.dry_run and not _left(after)
    report = {
        "subject": subjects[0],
        "kind": known.kind,
        "dryRun": known.dry_run,
        "erased": [{"keyId": one.key_id, "at": one.at.isoformat()} for one in erased],
        "before": [asdict(found) for found in before],
        "after": [asdict(found) for found in after],
        "proven": done,
        "notReached": _not_reached(after),
    }
    sys.stdout.write((json.dumps(report, indent=2) if known.json else _text(report, before, after, erased)) + "\n")
    return DONE if known.dry_run or done else INCOMPLETE


async def _erase_keys(keys: SubjectKeys, subjects: Sequence[str], *, by: str, reason: str) -> list[Erasure]:
    """Delete the person's keys; where there was none, leave the traces all the same: what waits is refused by them."""
    await keys.ensure_erased_key()
    done = [await keys.erase(subject, by=by, reason=reason) for subject in subjects]
    erased = [one for one in done if one is not None]
    if not erased and not any([await keys.erased_at(subject) for subject in subjects]):
        await keys.note_erasure(subjects[0], by=by, reason=reason)
    return erased


async def _forget(places: AsyncIterator[Place], person: Person) -> None:
    async for place in places:
        if place.forget is not None and place.text is not None and person.is_in(place.text):
            await place.forget()


def _left(after: Sequence[StoreSurvey]) -> int:
    """What can still be found or decrypted, but for the events, of which nothing can be decrypted."""
    return sum(found.openable + (found.found if found.store != EVENT_LOG else 0) for found in after)


def _not_reached(after: Sequence[StoreSurvey]) -> list[str]:
    events = {found.store: found.found for found in after if found.store == EVENT_LOG and found.found}
    unread = {found.store: found.unread for found in after if found.unread}
    return [
        *(
            f"{count} events in {store} keep tokens and values that nobody can decrypt, until their retention ends"
            for store, count in events.items()
        ),
        *(
            f"{count} places in {store} can't be read, so that nobody knows whom they are about"
            for store, count in unread.items()
        ),
        "messages that wait in the lanes' queues: those accepted before are refused when their turn comes",
        f"what an instance that still had the key wrote within {_FORGOTTEN_AFTER} s: run this again after that",
        "the audit record and its tombstone, which name the person by the token",
        "uploads that no message has named yet (a day), logs and traces, and copies of your own, such as backups",
    ]


async def _survey(composition: Composition, person: Person, note: Note) -> list[StoreSurvey]:
    """Look through every store with keys that nobody has in memory."""
    keys, subjects_keys = composition.get(data_keys), fresh_subject_keys(composition)
    assert keys is not None
    assert subjects_keys is not None
    keyring = Keyring(keys, subjects_keys)
    found = stores(composition, person, note)
    return [await survey(name, _texts(places), person=person, keyring=keyring) for name, places in found.items()]


async def _texts(places: AsyncIterator[Place]) -> AsyncIterator[tuple[str, str | None]]:
    async for place in places:
        yield place.name, place.text


def _text(
    report: Mapping[str, Any], before: Sequence[StoreSurvey], after: Sequence[StoreSurvey], erased: Sequence[Erasure]
) -> str:
    lines = [f"subject {report['subject']} ({report['kind']})", ""]
    lines.append(f"{'store':<12} {'looked at':>10} {'found':>8} {'encrypted':>9} {'readable':>9}")
    for was, now in zip(before, after, strict=True):
        line = f"{was.store:<12} {was.seen:>10} {was.found:>8} {was.values:>9} {was.openable:>9}"
        if report["dryRun"]:
            line += f"  {', '.join(was.samples[:2])}"
        else:
            line += f"  → {now.found} found, {now.openable} readable"
        lines.append(line)
    lines.append("")
    if report["dryRun"]:
        lines.append("nothing was changed")
    else:
        ids = ", ".join(one.key_id for one in erased) or "none, there was none"
        proof = "nothing leads to the person any more" if report["proven"] else "something still leads to the person"
        lines.append(f"keys deleted: {ids}; {proof} in what this reaches")
    lines += ["", "not reached:", *(f"  - {one}" for one in report["notReached"])]
    return "\n".join(lines)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return code
