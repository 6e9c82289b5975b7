"""Ports are tried before they are given to a process, since one that is taken may look fine to a client."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

__all__ = ["InternalPorts", "any_free", "is_free", "settle"]


@dataclass(frozen=True)
class InternalPorts:
    """The ports behind the app; None means the default, or any free one where that is taken."""

    amqp: int | None = None
    admin: int | None = None
    blob: int | None = None
    queue: int | None = None
    table: int | None = None
    identity: int | None = None
    vault: int | None = None
    vault_admin: int | None = None


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # As servers do: a connection that is closing does not keep the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def settle(wanted: int | None, default: int) -> int | None:
    """The port to use: the one asked for if free (None if not), else the default, else 0 for any free one."""
    if wanted is not None:
        return wanted if wanted == 0 or is_free(wanted) else None
    return default if is_free(default) else 0


def any_free() -> int:
    """A port that is free now, for a server whose address others must know before it runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
