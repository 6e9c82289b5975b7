"""After provisioning: wait until the new roles hold, then set the secrets that aren't there yet.

A role that was just granted takes minutes to reach every part of Azure; until then the vault answers 403. Nothing that
is there already is changed, so this may run as often as it likes.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.delivery.azure import AzureFailed, az

__all__ = ["FIRST", "PAUSE_SECONDS", "TRIES", "first_secrets"]

TRIES = 20
PAUSE_SECONDS = 15.0
_CALL_SECONDS = 60.0
_NOT_YET = ("Forbidden", "403", "not authorized", "resolve")

FIRST: Mapping[str, Callable[[], str]] = {
    "operation-key": lambda: secrets.token_urlsafe(48),
    "token-key": lambda: secrets.token_urlsafe(48),
    "api-keys": lambda: "[]",
}
"""Name → its first value. `api-keys` begins empty: nobody calls with a key until one is given out."""

_HELP = (
    "Whoever deploys needs the role Key Vault Secrets Officer on the vault (AZURE_PRINCIPAL_ID tells the template who "
    "that is), and a private vault is reached from inside its network only."
)

Run = Callable[[Sequence[str]], Any]
"""Runs `az` with these arguments and returns its answer; raises AzureFailed."""


def first_secrets(vault: str, run: Run, *, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Set what is missing; return the names that were set.

    Raises
    ------
    AzureFailed
        No access for some five minutes, or another error of the vault.
    """
    known = _names(vault, run, sleep)
    missing = [name for name in FIRST if name not in known]
    for name in missing:
        _set(vault, name, FIRST[name](), run)
    return missing


def _names(vault: str, run: Run, sleep: Callable[[float], None]) -> set[str]:
    for left in reversed(range(TRIES)):
        try:
            return set(run(["keyvault", "secret", "list", "--vault-name", vault, "--query", "[].name"]) or [])
        except AzureFailed as failure:
            if not left or not any(sign in str(failure) for sign in _NOT_YET):
                raise
        sleep(PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


def _set(vault: str, name: str, value: str, run: Run) -> None:
    # By a file that only we can read: a command line is there for every user of the machine to see.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "value"
        file.touch(mode=0o600)
        file.write_text(value, encoding="utf-8")
        where = ["--vault-name", vault, "--name", name]
        run(["keyvault", "secret", "set", *where, "--file", str(file), "--encoding", "utf-8", "--query", "id"])


if __name__ == "__main__":
    name = os.environ.get("SLUICE_KEY_VAULT_NAME", "")
    if not name:
        sys.exit("SLUICE_KEY_VAULT_NAME is not set: provision first")
    try:
        first_secrets(name, lambda arguments: az(arguments, timeout=_CALL_SECONDS))
    except AzureFailed as failure:
        sys.exit(f"{failure}\n{_HELP}")
