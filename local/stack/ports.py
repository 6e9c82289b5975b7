"""Ports are tried before they are given to a process, since one that is taken may look fine to a client."""

from __future__ import annotations

import os
import random
import socket
from dataclasses import dataclass

__all__ = ["InternalPorts", "any_free", "is_free", "settle"]

# Linux gives 32768 and up to whoever asks for any port, macOS and Windows 49152 and up (RFC 6335, section 6).
_SELDOM_USED = range(20_000, 27_000)


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
    partners: int | None = None


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


def any_free(count: int = 1, *, within: range = _SELDOM_USED) -> int:
    """The first of `count` neighbouring ports that are free now, for servers whose address others must know first.

    They lie below the ports that systems give to clients and to servers without a wish, so nobody takes one by
    chance before its server listens, or while its server is started again.

    Raises
    ------
    OSError
        If there are no such ports.
    """
    starts = within[: len(within) - count + 1]
    for first in random.sample(starts, len(starts)):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise OSError(f"No {count} free ports from {within.start} to {within.stop - 1}.")
