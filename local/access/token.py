"""`dev.py token`: prints a bearer token for the running local stack."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from local.access import AUDIENCE, ROLES
from local_azure.identity import IdentityAddress, IdentityError, RegistrationError, fetch_token, read_registration

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Print the token and nothing else; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    roles = [role.strip() for role in options.roles.split(",") if role.strip()]
    if unknown := sorted(set(roles) - set(ROLES)):
        parser.error(f"no such role: {', '.join(unknown)}; use {', '.join(ROLES)}.")
    try:
        registration = read_registration(options.data_dir / "identity")
        address, audience = _issuer(options.data_dir)
        token = fetch_token(address, registration, client=options.client, roles=roles, audience=audience)
    except (RegistrationError, IdentityError) as error:
        where = f"No local stack runs in {options.data_dir}: start one with `python3 dev.py run`."
        print(f"dev.py: {where} ({error})", file=sys.stderr)  # noqa: T201
        return 2
    print(token)  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py token", description="Print a bearer token for the running local stack, valid for an hour."
    )
    parser.add_argument("--roles", default=",".join(ROLES), help=f"comma list (default: {','.join(ROLES)})")
    parser.add_argument("--client", default="developer", metavar="NAME", help="who asks (default: developer)")
    parser.add_argument(
        "--data-dir", type=Path, default=_PROJECT / ".sluice", metavar="DIR", help="of the stack (default: .sluice)"
    )
    return parser


def _issuer(data: Path) -> tuple[IdentityAddress, str]:
    """The issuer and the audience that the stack of a folder gave to its hosts."""
    path = data / "app-settings.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["Values"]
        url, tenant, _ = values["SLUICE_AUTH_ISSUER"].rsplit("/", 2)
        return IdentityAddress(url, tenant), values.get("SLUICE_AUTH_AUDIENCE", AUDIENCE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RegistrationError(f"{path} does not say where an issuer is") from None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
