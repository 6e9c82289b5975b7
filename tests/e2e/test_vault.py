"""A running stack's issuer and vault, by the commands that its users have, and through their deaths."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import jwt
import pytest

from tests.e2e.conftest import DevPy, RunningStack

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")]


def test_tokens_and_secrets_are_had_from_a_running_stack_and_outlive_its_processes(
    dev_py: DevPy, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    where = ("--data-dir", str(data))
    with dev_py.started(data, "--no-demo", "--no-reload") as stack:
        settings = json.loads((data / "app-settings.json").read_text())["Values"]
        token = dev_py.ask("token", "--roles", "reader,operator", "--client", "shop", *where).stdout.strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["iss"], claims["aud"]) == (settings["SLUICE_AUTH_ISSUER"], settings["SLUICE_AUTH_AUDIENCE"])
        assert (claims["azp"], claims["roles"]) == ("shop", ["reader", "operator"])

        value = dev_py.ask("vault", *where, "get", "token-key").stdout
        listed = dev_py.ask("vault", *where, "list").stdout
        assert "token-key" in listed
        assert value.strip() not in listed
        assert dev_py.ask("vault", *where, "set", "mine", given="of my own\n").returncode == 0

        for name in ("keyvault", "identity"):
            killed = stack.processes()[name]
            os.kill(killed, signal.SIGKILL)
            stack.wait_for(lambda: _is_ready_again(stack, name))  # noqa: B023 - waited for in this round

        assert dev_py.ask("vault", *where, "get", "mine").stdout == "of my own\n"
        assert dev_py.ask("vault", *where, "get", "token-key").stdout == value
        refused = dev_py.ask("vault", *where, "rotate", "mistyped")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        rotated = dev_py.ask("vault", *where, "rotate", "token-key")
        assert rotated.returncode == 0
        assert dev_py.ask("vault", *where, "get", "token-key").stdout not in (value, rotated.stdout)
    stopped = dev_py.ask("vault", *where, "list")
    assert stopped.returncode == 2
    assert f"No local stack runs in {data}" in stopped.stderr
    for name in ("app-settings.json", "identity/registration.json", "identity/signing-keys.json"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    for name in ("vault.sqlite", "ca-key.pem", "server.pem"):
        assert stat.S_IMODE((data / "keyvault" / name).stat().st_mode) == 0o600


def _is_ready_again(stack: RunningStack, name: str) -> bool:
    return f"{name} is ready again" in stack.printed()
