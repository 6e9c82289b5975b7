"""`dev.py api-key`: makes an API key for a client, shown once, and the entry that the app knows it by."""

import argparse
import asyncio
import contextlib
import getpass
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence

from azure.core.exceptions import AzureError

from shared.authentication import GRANTED, Role, api_key_entry
from shared.environment import WrongSettings

from .failures import cause_of
from .settings_file import NoStack, WrongSettingsFile, add_settings, load_settings, settings_first

__all__ = ["main"]

_BYTES = 32
_NAMES_AN_APP = ("--settings", "--data-dir")


def main(arguments: Sequence[str]) -> int:
    """Print the key and its entry; return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py api-key", description="Make an API key for a client.")
    parser.add_argument("client", metavar="CLIENT", help="who will hold it; a client may have several, for rotation")
    parser.add_argument("--roles", default=Role.PRODUCER.value, help=f"comma list of {', '.join(GRANTED)}")
    parser.add_argument("--by", default=getpass.getuser(), help="who decides (default: your login name)")
    parser.add_argument("--reason", default="", help="why; kept in the audit trail of the app that is named")
    add_settings(parser)
    named = any(word.partition("=")[0] in _NAMES_AN_APP for word in arguments) or "State" in os.environ
    try:
        given = parser.parse_args(settings_first(arguments) if named else arguments)
        key = secrets.token_urlsafe(_BYTES)
        roles = [role.strip() for role in given.roles.split(",") if role.strip()]
        entry = api_key_entry(given.client, key, roles)
        if named:
            asyncio.run(_record(given, roles, entry))
    except NoStack as error:
        return _say(str(error), 2)
    except (WrongSettings, WrongSettingsFile) as error:
        return _say(str(error), 2)
    except ValueError as error:
        parser.error(f"{error}.")
    except (AzureError, OSError) as error:
        return _say(f"no key was made: the audit trail can't be written ({cause_of(error)})", 3)
    print(f"key for {given.client}, shown only now:\n  {key}\n")  # noqa: T201
    print(f"its entry in the list of SLUICE_API_KEYS (or of the secret it names):\n  {entry}")  # noqa: T201
    if not named:
        _say("no audit record: name the app with --data-dir or --settings to leave one", 0)
    return 0


async def _record(given: argparse.Namespace, roles: Sequence[str], entry: str) -> None:
    """Who got a key is recorded before it is shown; of the entry only a digest."""
    from functions.composition import Composition
    from shared.messages import Registry

    from .auditing import audited

    composition = Composition(load_settings(given.settings), Registry([]))
    digest = hashlib.sha256(entry.encode()).hexdigest()[:16]
    about = {"client": given.client, "roles": list(roles), "entry": digest}
    try:
        async with audited(composition, "api-key", by=given.by, reason=given.reason, **about):
            pass
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"api-key: {text}\n")
    return code
