"""The operator's command line for what is shared of the lake: list it, and make and withdraw tokens of recipients."""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from azure.core.exceptions import AzureError

from functions.composition import Composition
from functions.composition.sharing import share_tokens
from shared.authentication import Role
from shared.environment import WrongSettings
from shared.messages import Registry, rfc3339
from shared.settings import Settings
from shared.sharing import PREFIX, NotShared, ShareToken, WrongToken

from .auditing import audited
from .failures import cause_of
from .settings_file import WrongSettingsFile, add_settings, load_settings

__all__ = ["main"]

PROGRAM = "shares"
DONE, UNKNOWN, WRONG, UNREACHABLE = 0, 1, 2, 3
_SECONDS = 30.0
_BYTES = 32
ENDPOINT = "/api/delta-sharing"


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    try:
        known = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        return asyncio.run(_run(known, load_settings(known.settings, environment)))
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongSettings, WrongSettingsFile, WrongToken) as error:
        return _say(str(error), WRONG)
    except (AzureError, OSError, TimeoutError) as error:
        return _say(f"the state's store doesn't answer ({cause_of(error)}). Is the stack running?", UNREACHABLE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__, allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    listing = verbs.add_parser("list", help="what is shared, and the tokens that open it")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    making = verbs.add_parser("token", help="make a token, and the profile file that holds it")
    making.add_argument("recipient", metavar="RECIPIENT", help="who will hold it: a-z, 0-9, dot, _ and -")
    making.add_argument("--shares", required=True, help="comma list of shares that it opens")
    making.add_argument("--role", default="reader", choices=["reader", "operator"], help="as whom it sees the data")
    making.add_argument("--days", type=int, default=90, help="how long it lives (default: %(default)s)")
    making.add_argument("--out", required=True, metavar="FILE", help="the profile file; it is made and never shown")
    making.add_argument("--endpoint", metavar="URL", help="where recipients reach the app (default: its public URL)")
    ending = verbs.add_parser("withdraw", help="end a token, or all tokens of a recipient, within five seconds")
    ending.add_argument("what", metavar="ID", help="a token's id, or a recipient")
    for one in (making, ending):
        one.add_argument("--by", default=getpass.getuser(), help="who decides (default: your login name)")
        one.add_argument("--reason", required=True, help="why; kept in the audit trail")
    for one in (listing, making, ending):
        add_settings(one)
    return parser


async def _run(known: argparse.Namespace, settings: Settings) -> int:
    composition = Composition(settings, Registry([]))
    try:
        async with asyncio.timeout(_SECONDS):
            return await {"list": _list, "token": _make, "withdraw": _withdraw}[known.verb](known, composition)
    finally:
        with contextlib.suppress(Exception):
            await composition.close()


async def _list(known: argparse.Namespace, composition: Composition) -> int:
    shares, tokens = composition.settings.shares, await composition.get(share_tokens).all()
    now = composition.now()
    report: dict[str, Any] = {
        "shares": {name: [f"{one.schema}.{one.name}" for one in shares.tables(name)] for name in shares.names},
        "tokens": [
            _listed(one, "withdrawn" if one.withdrawn else "ended" if one.ends <= now else "open") for one in tokens
        ],
    }
    sys.stdout.write((json.dumps(report, indent=2) if known.json else _text(report)) + "\n")
    return DONE


def _listed(token: ShareToken, state: str) -> dict[str, Any]:
    return {
        "id": token.id,
        "recipient": token.recipient,
        "shares": list(token.shares),
        "role": str(token.sees),
        "state": state,
        "ends": rfc3339(token.ends),
        "by": token.by,
        "reason": token.reason,
    }


def _text(report: Mapping[str, Any]) -> str:
    lines = [f"{name}: {', '.join(tables) or 'no table'}" for name, tables in report["shares"].items()]
    lines = lines or ["nothing is shared: SLUICE_SHARES isn't set"]
    for one in report["tokens"]:
        shares = ",".join(one["shares"])
        lines.append(f"{one['id']}  {one['state']:<9} until {one['ends']}  {one['recipient']} ({one['role']}) {shares}")
    return "\n".join(lines)


async def _make(known: argparse.Namespace, composition: Composition) -> int:
    """The file is opened first, for nobody else on the machine: a token that can't be kept isn't made."""
    settings, token = composition.settings, PREFIX + secrets.token_urlsafe(_BYTES)
    endpoint = (known.endpoint or (settings.public_url and settings.public_url + ENDPOINT) or "").rstrip("/")
    if not endpoint.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise WrongToken("say --endpoint https://HOST/api/delta-sharing: SLUICE_PUBLIC_URL isn't set")
    try:
        shares = [settings.shares.share(one.strip()) for one in known.shares.split(",") if one.strip()]
    except NotShared:
        raise WrongToken(f"--shares: there are {', '.join(settings.shares.names) or 'none'}") from None
    about = {"recipient": known.recipient, "shares": shares, "role": known.role, "days": known.days}
    try:
        file = os.open(known.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WrongToken(f"{known.out} can't be made: {error.strerror}") from None
    with os.fdopen(file, "w", encoding="utf-8") as opened:
        try:
            made = await _recorded(known, composition, token, shares, about)
        except BaseException:
            os.unlink(known.out)
            raise
        opened.write(_profile(endpoint, token, made))
    sys.stdout.write(f"{PROGRAM}: {known.out} opens {', '.join(shares)} until {rfc3339(made.ends)} (token {made.id})\n")
    return DONE


async def _recorded(
    known: argparse.Namespace, composition: Composition, token: str, shares: Sequence[str], about: Mapping[str, Any]
) -> ShareToken:
    async with audited(composition, "shares token", by=known.by, reason=known.reason, **about) as result:
        made = await composition.get(share_tokens).add(
            token,
            recipient=known.recipient,
            shares=shares,
            sees=Role(known.role),
            days=known.days,
            by=known.by,
            reason=known.reason,
        )
        result["token"] = made.id
    return made


def _profile(endpoint: str, token: str, made: ShareToken) -> str:
    """A profile file (Delta Sharing protocol, "Profile File Format")."""
    profile = {
        "shareCredentialsVersion": 1,
        "endpoint": endpoint,
        "bearerToken": token,
        "expirationTime": rfc3339(made.ends),
    }
    return json.dumps(profile, indent=2) + "\n"


async def _withdraw(known: argparse.Namespace, composition: Composition) -> int:
    async with audited(composition, "shares withdraw", by=known.by, reason=known.reason, what=known.what) as result:
        done = await composition.get(share_tokens).withdraw(known.what)
        result["tokens"] = [one.id for one in done]
    if not done:
        return _say(f"there is no open token {known.what}", UNKNOWN)
    return _say(f"withdrawn: {', '.join(one.id for one in done)}; no instance takes one after 5 s", DONE)


def _say(text: str, code: int) -> int:
    (sys.stdout if code == DONE else sys.stderr).write(f"{PROGRAM}: {text}\n")
    return code
