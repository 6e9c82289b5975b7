"""`dev.py api-key`: makes an API key for a client, shown once, and the entry that the app knows it by."""

import argparse
import secrets
from collections.abc import Sequence

from shared.authentication import Role, api_key_entry

__all__ = ["main"]

_BYTES = 32


def main(arguments: Sequence[str]) -> int:
    """Print the key and its entry; return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py api-key", description="Make an API key for a client.")
    parser.add_argument("client", metavar="CLIENT", help="who will hold it; a client may have several, for rotation")
    parser.add_argument("--roles", default=Role.PRODUCER.value, help=f"comma list of {', '.join(Role)}")
    given = parser.parse_args(arguments)
    key = secrets.token_urlsafe(_BYTES)
    roles = [role.strip() for role in given.roles.split(",") if role.strip()]
    try:
        entry = api_key_entry(given.client, key, roles)
    except ValueError as error:
        parser.error(f"{error}.")
    print(f"key for {given.client}, shown only now:\n  {key}\n")  # noqa: T201
    print(f"its entry in the list of SLUICE_API_KEYS (or of the secret it names):\n  {entry}")  # noqa: T201
    return 0
