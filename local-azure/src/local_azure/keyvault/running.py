"""Puts a vault together: storage, certificate, access, sockets. For the command line, and for tests."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from local_azure.identity import IdentityAddress
from local_azure.keyvault.access import Access, NoKeys, TokenVerifier
from local_azure.keyvault.address import VaultAddress
from local_azure.keyvault.admin import Administration
from local_azure.keyvault.authority import server_context, write_bundle
from local_azure.keyvault.events import Delivery
from local_azure.keyvault.requests import Counters, Faults, Throttle
from local_azure.keyvault.seeding import Seeds, seed
from local_azure.keyvault.server import bind, serve_administration, serve_vault
from local_azure.keyvault.storage import Storage
from local_azure.keyvault.transports import NetworkTransport
from local_azure.keyvault.vault import Vault

__all__ = ["NEAR_EXPIRY_SECONDS", "RunningVault", "running_vault"]

NEAR_EXPIRY_SECONDS: Final = 30 * 86_400
"""How long before it expires the service tells of it."""

_NO_SEEDS: Final = Seeds()
_SWEEP_SECONDS: Final = 1.0
_KEYS_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class RunningVault:
    """A vault that listens, to be changed in the loop that runs it. `failed` ends with what keeps it from going on."""

    address: VaultAddress
    vault: Vault
    failed: asyncio.Future[None]


@asynccontextmanager
async def running_vault(
    folder: Path,
    identity: IdentityAddress,
    access: Access,
    *,
    throttle: Throttle,
    port: int = 0,
    admin_port: int = 0,
    near_expiry_seconds: int = NEAR_EXPIRY_SECONDS,
    seeds: Seeds = _NO_SEEDS,
) -> AsyncIterator[RunningVault]:
    """Run a vault that keeps its items in `folder` until the block ends; ports of 0 are any free ones.

    Raises
    ------
    StorageError, AuthorityError
        If what is in the folder cannot be used.
    OSError
        If the folder cannot be written to, or a port is taken.
    """
    async with AsyncExitStack() as stack:
        storage = Storage(folder)
        stack.callback(storage.close)
        sockets = bind(port), bind(admin_port)
        url, admin_url = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
        tls = server_context(folder)
        address = VaultAddress(f"https://{url}", f"http://{admin_url}", str(write_bundle(folder)))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=_KEYS_TIMEOUT))
        verifier = TokenVerifier(
            identity.authority,
            (identity.first_issuer, identity.issuer),
            (address.url, address.named_url),
            fetch_keys=_fetching(session, identity.jwks_uri),
            now=time.monotonic,
        )
        vault = Vault(
            storage, base=address.url, verifier=verifier, access=access, throttle=throttle, now=lambda: int(time.time())
        )
        seed(vault, seeds)
        transport = NetworkTransport()
        stack.push_async_callback(transport.close)
        delivery = Delivery(transport, find=vault.subscription, settle=storage.settle, now=time.time)
        stack.push_async_callback(delivery.close)
        vault.deliver(delivery)
        faults, counters = Faults(random.random), Counters()
        administration = Administration(vault, faults, counters)
        stack.push_async_callback((await serve_administration(administration, sockets[1])).close)
        stack.push_async_callback((await serve_vault(vault, faults, counters, sockets[0], tls)).close)
        sweeping = asyncio.create_task(_sweep(vault, near_expiry_seconds))
        stack.callback(sweeping.cancel)
        yield RunningVault(address, vault, sweeping)


async def _sweep(vault: Vault, near_expiry_seconds: int) -> None:
    while True:
        vault.sweep(near_expiry_seconds)
        await asyncio.sleep(_SWEEP_SECONDS)


def _fetching(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def fetch() -> Mapping[str, Any]:
        try:
            async with session.get(url) as answer:
                content = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NoKeys(str(error)) from None
        if not isinstance(content, dict):
            raise NoKeys("no key set")
        return content

    return fetch
