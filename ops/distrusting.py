"""The operator's answer to a stolen signing key: from now on no instance takes a token under it."""

import argparse
import asyncio
import contextlib
import getpass
import sys
from collections.abc import Mapping

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.authentication import distrusted_keys
from shared.environment import WrongSettings
from shared.messages import Registry
from shared.settings import Settings

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["distrust", "trust"]

DONE, UNKNOWN, WRONG, UNREACHABLE = 0, 1, 2, 3
_SECONDS = 30.0


def distrust(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Distrust a key, or list those that are; return the exit code."""
    return _main("distrust-key", arguments, environment)


def trust(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Trust a key again; return the exit code."""
    return _main("trust-key", arguments, environment)


def _main(verb: str, arguments: list[str], environment: Mapping[str, str] | None) -> int:
    parser = argparse.ArgumentParser(verb, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "kid", nargs=None if verb == "trust-key" else "?", metavar="KID", help="its id, as the header of a token has it"
    )
    if verb == "distrust-key":
        parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: your login name)")
        parser.add_argument("--reason", default="", help="why; kept, and needed unless you list")
    add_settings(parser)
    try:
        known = parser.parse_args(arguments)
        if verb == "distrust-key" and known.kid and not (known.reason.strip() and known.by.strip()):
            parser.error("say --reason WHY, and --by WHO: whoever comes next must know")
        return asyncio.run(_run(verb, known, load_settings(known.settings, environment)))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongSettings, WrongSettingsFile) as error:
        return _say(verb, str(error), WRONG)
    except (AzureError, OSError) as error:
        return _say(verb, f"the state's store doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


async def _run(verb: str, known: argparse.Namespace, settings: Settings) -> int:
    composition = Composition(settings, Registry([]))
    try:
        async with asyncio.timeout(_SECONDS):
            keys = composition.get(distrusted_keys)
            if verb == "trust-key":
                async with audited(composition, verb, by=getpass.getuser(), reason="", kid=known.kid) as result_of:
                    again = await keys.trust(known.kid)
                    result_of["trusted"] = again
                result = "is trusted again within 5 s" if again else "isn't distrusted"
                return _say(verb, f"the key {known.kid} {result}", DONE if again else UNKNOWN)
            if known.kid is None:
                lines = [f"{kid}: {why}" for kid, why in (await keys.all()).items()]
                sys.stdout.write("\n".join(lines or ["no key is distrusted"]) + "\n")
                return DONE
            async with audited(composition, verb, by=known.by, reason=known.reason, kid=known.kid):
                await keys.distrust(known.kid, by=known.by, reason=known.reason)
            return _say(verb, f"no instance takes a token under the key {known.kid} after 5 s", DONE)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


def _say(verb: str, text: str, code: int) -> int:
    (sys.stdout if code == DONE else sys.stderr).write(f"{verb}: {text}\n")
    return code
