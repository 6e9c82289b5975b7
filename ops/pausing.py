"""The first move in an incident: `pause` a lane, an integration or a partner on all instances, `resume`, `pauses`."""

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
from collections.abc import Collection, Mapping
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.pausing import pause_book, set_aside
from shared.environment import WrongSettings
from shared.messages import Lane, Registry
from shared.pausing import Kind, Pause, PauseError, known_name

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main", "pause", "pauses", "resume"]

DONE, WRONG, UNREACHABLE = 0, 2, 3
_KINDS = ", ".join(Kind)
_SECONDS = 30.0


class _Wrong(Exception):
    """The command line can't be followed; the message says why."""


def pause(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Begin a pause; return the exit code."""
    return main("pause", arguments, environment)


def resume(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """End a pause; return the exit code."""
    return main("resume", arguments, environment)


def pauses(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """List pauses; return the exit code."""
    return main("pauses", arguments, environment)


def main(verb: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code: 0 done, 2 wrong use, 3 nothing answers."""
    try:
        known = _parse(verb, arguments)
        settings = load_settings(known.settings, environment)
        return asyncio.run(_run(verb, known, Composition(settings, Registry([]))))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (_Wrong, PauseError, WrongSettings, WrongSettingsFile) as error:
        return _say(verb, str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(
            verb,
            f"the state's store doesn't answer ({cause_of(error)}); nothing was done. Is the stack running?",
            UNREACHABLE,
        )


def _parse(verb: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(verb, description=__doc__, allow_abbrev=False)
    if verb != "pauses":
        parser.add_argument("kind", choices=[kind.value for kind in Kind], metavar="KIND", help=f"one of {_KINDS}")
        parser.add_argument("name", metavar="NAME", help="which one; for a name that isn't there, those that are")
        parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: your login name)")
        parser.add_argument("--reason", default="", help="why; kept, and needed to pause")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)
    known = parser.parse_args(arguments)
    if verb == "pause" and not (known.reason.strip() and known.by.strip()):
        raise _Wrong("whoever comes next must know why: say --reason WHY, and --by WHO")
    return known


async def _run(verb: str, known: argparse.Namespace, composition: Composition) -> int:
    try:
        async with asyncio.timeout(_SECONDS):
            if verb == "pauses":
                return await _list(known, composition)
            kind = Kind(known.kind)
            if verb == "pause":
                known.name = known_name(kind, known.name, _names(kind))
            about = {"kind": kind.value, "name": known.name}
            async with audited(composition, verb, by=known.by, reason=known.reason, **about) as result:
                result["exitCode"] = code = await (_pause if verb == "pause" else _resume)(kind, known, composition)
            return code
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _pause(kind: Kind, known: argparse.Namespace, composition: Composition) -> int:
    name, book = known.name, composition.get(pause_book)
    began = await book.pause(kind, name, by=known.by, reason=known.reason)
    pause = (await book.state()).find(kind, name)
    if pause is None:  # somebody ended it at this moment
        return _say("pause", f"{kind} {name} was paused and isn't any more: look at `pauses`", DONE)
    if known.json:
        _print(json.dumps({"began": began, **pause.to_json()}, indent=2, ensure_ascii=False))
    elif began:
        _print(
            f"{kind} {name} is paused: every instance stops within 5 s, and what comes meanwhile waits, uncounted.\n"
            f"End it with: resume {kind} {name}"
        )
    else:
        _print(f"{kind} {name} was paused already: {_described(pause)}")
    return DONE


async def _resume(kind: Kind, known: argparse.Namespace, composition: Composition) -> int:
    ended = await composition.get(pause_book).resume(kind, known.name, by=known.by, reason=known.reason)
    if known.json:
        _print(json.dumps(ended.to_json(), indent=2, ensure_ascii=False))
    else:
        _print(f"{kind} {known.name} goes on within 5 s; what waited comes back within half a minute")
    return DONE


async def _list(known: argparse.Namespace, composition: Composition) -> int:
    state = await composition.get(pause_book).state()
    waiting = await composition.get(set_aside).counts()
    if known.json:
        document: dict[str, Any] = {
            "active": [one.to_json() for one in state.active],
            "ended": [one.to_json() for one in state.ended],
            "waiting": [
                {"lane": lane, "integration": integration, "messages": count}
                for (lane, integration), count in sorted(waiting.items())
            ],
        }
        _print(json.dumps(document, indent=2, ensure_ascii=False))
        return DONE
    lines = [f"{one.kind} {one.name}: paused {_described(one)}" for one in state.active] or ["nothing is paused"]
    lines += [
        f"  {count} messages of lane {lane} wait" + (f", of {integration}" if integration else "")
        for (lane, integration), count in sorted(waiting.items())
    ]
    lines += [f"{one.kind} {one.name}: ended {_ended(one)}" for one in state.ended[:5]]
    _print("\n".join(map(_printable, lines)))
    return DONE


def _described(one: Pause) -> str:
    return f"since {one.at:%Y-%m-%d %H:%M:%SZ} by {one.by}: {one.reason}"


def _ended(one: Pause) -> str:
    moment = f"{one.ended_at:%Y-%m-%d %H:%M:%SZ}" if one.ended_at else ""
    return f"{moment} by {one.ended_by}" + (f": {one.ended_reason}" if one.ended_reason else "")


def _names(kind: Kind) -> Collection[str]:
    """What there is to be paused. Partners have names only once a capability declares them."""
    if kind is Kind.LANE:
        return [lane.value for lane in Lane]
    if kind is Kind.INTEGRATION:
        import integrations  # the users' modules: only this kind needs them
        from shared.messages import discover

        return [one.name for one in discover(integrations).integrations]
    return ()


def _printable(text: str) -> str:
    """One line without control characters: a reason must not steer the terminal of whoever reads it."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say(verb: str, text: str, code: int) -> int:
    sys.stderr.write(f"{verb}: {text}\n")
    return code
