"""Clients of OData that nobody here wrote read orders: from npm, over HTTP."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

import integrations
from shared.messages import discover
from tests.npm import installed
from tests.scale import SCALE
from tests.unit.asgi import ask
from tests.unit.functions.conftest import Running
from tests.unit.functions.test_api_queries import started

PROJECT = Path(__file__).parents[3]
CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """The address of the app with five orders."""
    apps: list[Running] = []

    async def handle(request: web.Request) -> web.Response:
        answer = await ask(
            apps[0].asgi, request.method, request.path, headers=dict(request.headers), query=request.query_string
        )
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    address = f"http://127.0.0.1:{port}"
    apps.append(await started(discover(integrations), SLUICE_PUBLIC_URL=address))
    yield f"{address}/api/"
    await runner.cleanup()


async def run(*command: str, folder: Path | None = None) -> str:
    """What a client prints."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_clients_from_npm_read_orders(service: str) -> None:
    """`@odata/client` and `odata` filter, count, page and get by key; one of them percent-encodes the dollar."""
    node, folder = await asyncio.to_thread(installed, PROJECT, CLIENTS, "odata-clients")
    script = folder / "read.cjs"
    script.write_bytes((CLIENTS / "read.cjs").read_bytes())
    found = json.loads(await run(node, str(script), service))
    assert found["filtered"] == [{"orderId": key, "total": f"{key}.10"} for key in "135"]
    assert found["count"] == 3
    assert (found["one"]["orderId"], found["one"]["total"]) == ("3", 3.1)
    assert [row["orderId"] for row in found["page"]] == ["2", "3"]
    assert found["encoded"] == [{"orderId": "4"}]


@pytest.mark.skipif(SCALE <= 1, reason="resolving a Maven project takes a minute")
async def test_apache_olingo_reads_orders(service: str, tmp_path: Path) -> None:
    """Metadata, service document, pages and a row: it checks each value against its type."""
    java, mvn = shutil.which("java"), shutil.which("mvn")
    if java is None or mvn is None:
        pytest.skip("java and mvn not installed")
    folder = tmp_path / "olingo"
    shutil.copytree(Path(__file__).parent / "olingo", folder)
    await run(mvn, "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath", folder=folder)
    classes = f"target/classes:{(folder / 'classpath').read_text()}"
    found = await run(java, "-cp", classes, "Reader", service, folder=folder)
    assert [line for line in found.splitlines() if "SLF4J" not in line] == [
        "key [orderId]",
        "sets [orders]",
        "page of 3",
        "1 Edm.Decimal 1.1 Edm.DateTimeOffset 2026-01-01T08:00:00Z",
        "3 Edm.Decimal 3.1 Edm.DateTimeOffset 2026-01-03T08:00:00Z",
        "page of 3",
        "5 Edm.Decimal 5.1 Edm.DateTimeOffset 2026-01-05T08:00:00Z",
        "one France",
    ]
