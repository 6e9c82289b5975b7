"""Lets one port speak a protocol plain and over TLS."""

import asyncio
import ssl
from collections.abc import Callable

from local.emulator.sniffing import Sniffer

__all__ = ["TlsSniffer"]


class TlsSniffer(Sniffer):
    """Hands every connection to what `factory` makes, upgraded to TLS if the client wants it."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], ssl_context: ssl.SSLContext) -> None:
        super().__init__(lambda data: factory(), ssl_context)
