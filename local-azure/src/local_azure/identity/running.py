"""Puts an issuer together: its registration, its keys, its socket. For the command line, and for tests."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from local_azure.identity.client import IdentityAddress
from local_azure.identity.issuer import Issuer
from local_azure.identity.keys import KeyRing, make_signing_key
from local_azure.identity.registration import Registration, RegistrationError, keep, open_registration
from local_azure.identity.server import listen

__all__ = ["running_identity"]


@asynccontextmanager
async def running_identity(
    folder: Path, port: int = 0, *, roles: Sequence[str] = ()
) -> AsyncIterator[tuple[IdentityAddress, Registration]]:
    """Run an issuer that keeps what it is registered as in `folder` until the block ends; port 0 is any free one.

    A client that names no roles has `roles`.

    Raises
    ------
    RegistrationError
        If what is in the folder cannot be read.
    OSError
        If the folder cannot be written to, or the port is taken.
    """
    registration = open_registration(folder)
    keys = _open_keys(folder / "signing-keys.json")
    # The issuer's name holds its port, which must be its own before the first request.
    taken = socket.create_server(("127.0.0.1", port))
    address = IdentityAddress(f"http://127.0.0.1:{taken.getsockname()[1]}", registration.tenant)
    server = await listen(Issuer(address, registration, keys, time.time, roles=roles), taken)
    try:
        yield address, registration
    finally:
        await server.close()


def _open_keys(path: Path) -> KeyRing:
    def keep_keys(text: str) -> None:
        keep(path, text)

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return KeyRing([], make=make_signing_key, keep=keep_keys)
    try:
        return KeyRing.from_text(text, make=make_signing_key, keep=keep_keys)
    except ValueError:
        raise RegistrationError(f"{path} cannot be read as signing keys: remove it.") from None
