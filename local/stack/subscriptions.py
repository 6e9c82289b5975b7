"""Tells the vault where its events go: to the queue for them, and to the app's own Event Grid functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from local_azure.keyvault import VaultAddress

__all__ = ["find_subscriptions", "subscribe"]

_QUEUE = "secret-events"
_FUNCTIONS = "secret"
_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def subscribe(
    session: aiohttp.ClientSession,
    vault: VaultAddress,
    host: str,
    config: Path,
    broker: str,
    keys: Path | None = None,
) -> None:
    """Subscribe what there is, in place of what was subscribed before.

    Parameters
    ----------
    keys
        The file of the host's keys, where it asks for them.

    Raises
    ------
    ValueError
        If the vault or the host does not answer as it should.
    """
    try:
        known = {} if keys is None else _read(keys)
        headers = {"x-functions-key": str(known["master"])} if known else {}
        async with session.get(f"{host}/admin/functions", headers=headers, timeout=_TIMEOUT) as answer:
            functions = await answer.json(content_type=None)
        found = find_subscriptions(functions, host, _read(config), broker, _code(known))
        async with session.put(f"{vault.admin_url}/subscriptions", json=found, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ValueError(f"The vault's events cannot be subscribed to: {type(error).__name__}.") from error


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _code(keys: Mapping[str, Any]) -> str:
    return f"&code={keys['system']['eventgrid_extension']}" if keys else ""


def find_subscriptions(
    functions: Iterable[Mapping[str, Any]], host: str, config: Mapping[str, Any], broker: str, code: str = ""
) -> list[dict[str, str]]:
    """A webhook for each Event Grid function whose name begins with `secret`, and the queue `secret-events`."""
    found = [
        {"name": each["name"], "webhook": f"{host}/runtime/webhooks/eventgrid?functionName={each['name']}{code}"}
        for each in functions
        if str(each["name"]).lower().startswith(_FUNCTIONS)
        and any(str(binding.get("type")).lower() == "eventgridtrigger" for binding in each["config"]["bindings"])
    ]
    namespaces = config["UserConfig"]["Namespaces"]
    if any(queue["Name"] == _QUEUE for namespace in namespaces for queue in namespace.get("Queues") or []):
        found.append({"name": _QUEUE, "service_bus": broker, "queue": _QUEUE})
    return found
