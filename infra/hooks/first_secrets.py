"""After provisioning: wait until the new roles hold, then set the secrets that aren't there yet.

A role that was just granted takes minutes to reach every part of Azure; until then the vault answers 403. No value that
is there already is changed, so this may run as often as it likes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.delivery.azure import AzureFailed, az

__all__ = ["FIRST", "PAUSE_SECONDS", "ROTATED", "TRIES", "first_secrets", "smoke_key"]

TRIES = 20
PAUSE_SECONDS = 15.0
_CALL_SECONDS = 60.0
_NOT_YET = ("Forbidden", "403", "not authorized", "resolve")

FIRST = ("operation-key", "token-key", "smoke-key", "api-keys")
"""The secrets of a first deployment. `api-keys` knows one client, `smoke`, whose key is `smoke-key`: with it the smoke
test sends its order, also where no issuer of tokens is set."""

ROTATED = {"operation-key": timedelta(days=90)}
"""Those that the app renews, and their life: without an expiry the vault never tells that one comes near."""

_HELP = (
    "Whoever deploys needs the role Key Vault Secrets Officer on the vault (AZURE_PRINCIPAL_ID tells the template who "
    "that is), and a private vault is reached from inside its network only."
)

Run = Callable[[Sequence[str]], Any]
"""Runs `az` with these arguments and returns its answer; raises AzureFailed."""


def first_secrets(vault: str, run: Run, *, now: datetime, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Set what is missing; return the names that were set.

    A secret that the app renews gets an expiry, also if an earlier deployment made it without one.

    Raises
    ------
    AzureFailed
        No access for some five minutes, or another error of the vault.
    """
    known = _known(vault, run, sleep)
    missing = [name for name in FIRST if name not in known]
    for name in missing:
        _set(vault, name, _first_value(name, vault, run), run)
    for name, life in ROTATED.items():
        if known.get(name) is None:
            ends = (now + life).strftime("%Y-%m-%dT%H:%M:%SZ")
            run(["keyvault", "secret", "set-attributes", "--vault-name", vault, "--name", name, "--expires", ends])
    return missing


def _first_value(name: str, vault: str, run: Run) -> str:
    if name != "api-keys":
        return secrets.token_urlsafe(48)
    digest = hashlib.sha256(smoke_key(vault, run).encode()).hexdigest()
    return json.dumps([{"client": "smoke", "sha256": digest, "roles": ["producer", "reader"]}])


def smoke_key(vault: str, run: Run) -> str:
    """The key of the client `smoke`.

    Raises
    ------
    AzureFailed
        It isn't there, or the vault lets nobody read it.
    """
    return str(run(["keyvault", "secret", "show", "--vault-name", vault, "--name", "smoke-key", "--query", "value"]))


def _known(vault: str, run: Run, sleep: Callable[[float], None]) -> dict[str, str | None]:
    """Name → expiry, None without one."""
    shape = "[].{name: name, expires: attributes.expires}"
    for left in reversed(range(TRIES)):
        try:
            found = run(["keyvault", "secret", "list", "--vault-name", vault, "--query", shape]) or []
            return {one["name"]: one["expires"] for one in found}
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
        first_secrets(name, lambda arguments: az(arguments, timeout=_CALL_SECONDS), now=datetime.now(UTC))
    except AzureFailed as failure:
        sys.exit(f"{failure}\n{_HELP}")
