"""Bulks through the whole app, by clients of others: streamed, uploaded, cut off, and in bounded memory."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.azurite import AzuriteEndpoints
from local_azure.testing import FunctionsApp, FunctionsApps
from local_azure.testing.processes import BrokerProcess
from tests.scale import SCALE
from tests.unit.functions.test_bulk import ndjson, orders

KEY = "one-of-the-callers-with-a-key-of-its-own"
KEYS = [{"client": "a", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "roles": ["producer"]}]
LINES = round(10_000 * SCALE)
MOST_GROWTH = 64 * 1024 * 1024
NDJSON = "application/x-ndjson"

NODE = """
const [url, key, count] = process.argv.slice(1);
const lines = Array.from({length: Number(count)}, (_, n) => JSON.stringify({
  orderId: `node-${n}`, placedAt: "2026-01-05T08:26:00Z", customerId: "17850", country: "France",
  lines: [{sku: "85123A", description: "LANTERN", quantity: 6, unitPrice: 2.55}],
}) + "\\n");
const body = new ReadableStream({
  pull(stream) { lines.length ? stream.enqueue(new TextEncoder().encode(lines.shift())) : stream.close(); },
});
const answer = await fetch(url, {
  method: "POST", body, duplex: "half", headers: {"content-type": "application/x-ndjson", "x-api-key": key},
});
let text = "", pieces = 0, accepted = 0, last;
for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
  pieces++;
  const found = (text + piece).split("\\n");
  text = found.pop();
  for (const line of found.map(JSON.parse)) { accepted += line.status === 202; last = line.bulk ?? last; }
}
console.log(JSON.stringify({status: answer.status, pieces, accepted, last}));
"""

JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.Path;
import java.util.stream.Collectors;

public class Bulk {
    public static void main(String[] given) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(given[0])).header("Content-Type", "application/x-ndjson")
            .header("x-api-key", given[1]).POST(HttpRequest.BodyPublishers.ofFile(Path.of(given[2]))).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofLines());
        var lines = answer.body().collect(Collectors.toList());
        System.out.println(answer.statusCode() + " " + lines.size() + " " + lines.get(lines.size() - 1));
    }
}
"""


@pytest.fixture(scope="module")
def door(
    project: Path, tmp_path_factory: pytest.TempPathFactory, azurite: AzuriteEndpoints, emulator: BrokerProcess
) -> Iterator[FunctionsApp]:
    """The app's API alone, with a broker and a storage; nobody takes what it sends."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    declared = json.loads((project / "infra" / "declarations.json").read_text())["functions"]
    off = {f"AzureWebJobs.{one['name']}.Disabled": "true" for one in declared if one["name"] != "api"}
    settings = sample | off | dict.fromkeys(("ServiceBus", "EventHubs"), emulator.connection_string)
    settings |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    settings |= {"SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_API_KEYS": json.dumps(KEYS)}
    settings["SLUICE_CLAIM_CONTAINER"] = "bulkclaims"
    apps = FunctionsApps(tmp_path_factory.mktemp("door"))
    try:
        yield apps(project, **settings)
    finally:
        apps.close()


def command(name: str) -> str:
    """Where a client is; skipped where it isn't."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} not installed")
    return found


def curl(*options: str) -> bytes:
    """What it prints."""
    return subprocess.run([command("curl"), "-sS", *options], check=True, capture_output=True, timeout=120).stdout


def test_the_pages_own_example(door: FunctionsApp, project: Path, tmp_path: Path) -> None:
    """As it stands there, by curl; and what its answer looks like."""
    page = (project / "docs" / "api.md").read_text()
    (snippet,) = re.findall(r"```sh\n(curl [^`]*/orders/bulk[^`]*)```", page)
    (tmp_path / "orders.ndjson").write_bytes(ndjson(*orders(1), {"orderId": "2"}))
    done = subprocess.run(
        [command("sh"), "-c", snippet],
        cwd=tmp_path,
        env={**os.environ, "API": f"{door.url}/api", "KEY": KEY},
        check=True,
        capture_output=True,
        timeout=60,
    )
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    (shown,) = re.findall(r'```json\n(\{"line":1[^`]*)```', page)
    described = [json.loads(one) for one in shown.splitlines()]
    assert [one.keys() for one in lines] == [one.keys() for one in described]
    assert [one.get("status") for one in lines] == [one.get("status") for one in described]
    assert lines[-1]["bulk"].keys() == described[-1]["bulk"].keys()
    assert {**lines[-1]["bulk"], "updated": 0, "operation": 0} == {
        **described[-1]["bulk"],
        "updated": 0,
        "operation": 0,
    }


@pytest.mark.parametrize("options", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Content-Encoding: gzip"]])
def test_curl_sends_a_file(door: FunctionsApp, tmp_path: Path, options: list[str]) -> None:
    """With a length, in chunks, compressed."""
    body = ndjson(*orders(300))
    (tmp_path / "body").write_bytes(gzip.compress(body) if "gzip" in str(options) else body)
    printed = curl(
        f"{door.url}/api/orders/bulk", "-H", f"x-api-key: {KEY}", "-H", f"Content-Type: {NDJSON}", *options,
        "--data-binary", f"@{tmp_path / 'body'}", "-w", "%{http_code}",
    )  # fmt: skip
    *lines, status = printed.splitlines()
    assert (status, len(lines), json.loads(lines[-1])["bulk"]["accepted"]) == (b"202", 301, 300)


def test_node_streams_its_lines_and_reads_a_stream(door: FunctionsApp) -> None:
    """By `fetch`, as they come."""
    done = subprocess.run(
        [command("node"), "--input-type=module", "-e", NODE, f"{door.url}/api/orders/bulk", KEY, "2000"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    found = json.loads(done.stdout)
    assert (found["status"], found["accepted"], found["last"]["through"]) == (207, 2_000, 2_000)
    assert found["pieces"] > 1


def test_java_sends_a_file_and_reads_lines(door: FunctionsApp, tmp_path: Path) -> None:
    """By its own client."""
    java = command("java")
    (tmp_path / "Bulk.java").write_text(JAVA)
    (tmp_path / "body").write_bytes(ndjson(*orders(100)))
    arguments = [f"{door.url}/api/orders/bulk", KEY, str(tmp_path / "body")]
    done = subprocess.run([java, str(tmp_path / "Bulk.java"), *arguments], check=True, capture_output=True, timeout=120)
    status, count, last = done.stdout.decode().split(" ", 2)
    assert (status, count, json.loads(last)["bulk"]["accepted"]) == ("202", "101", 100)


def resident(door: FunctionsApp) -> int:
    """Bytes of memory that the host has now."""
    for line in Path(f"/proc/{door.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def lines(count: int) -> Iterator[bytes]:
    """Orders in pieces of blocks' size."""
    (sample,) = orders(1)
    head, tail = json.dumps(sample).encode().split(b'"1"', 1)
    block = bytearray()
    for number in range(count):
        block += head + b'"%d"' % number + tail + b"\n"
        if len(block) > 4_000_000:
            yield bytes(block)
            block.clear()
    yield bytes(block)


async def uploaded(session: aiohttp.ClientSession, url: str, count: int) -> dict[str, Any]:
    """An upload of so many orders."""
    async with session.post(f"{url}/api/uploads?for=bulk") as answer:
        opened = await answer.json()
    digest, size = hashlib.sha256(), 0
    for number, block in enumerate(lines(count)):
        digest.update(block)
        size += len(block)
        async with session.put(url + opened["blocks"]["path"].format(number=number), data=block) as answer:
            assert answer.status == 204
    return {"upload": {"id": opened["uploadId"], "size": size, "sha256": digest.hexdigest()}}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.timeout(120 + 60 * SCALE)
async def test_an_upload_of_any_length_takes_bounded_memory_and_goes_on_where_it_was_cut_off(
    door: FunctionsApp, record_property: Callable[[str, object], None]
) -> None:
    """Of a client that leaves in the middle, and comes back to where it got to."""
    headers = {"x-api-key": KEY, "Content-Type": NDJSON}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        warm = await uploaded(session, door.url, 2_000)
        async with session.post(f"{door.url}/api/orders/bulk", json=warm, headers=headers) as answer:
            assert json.loads((await answer.read()).splitlines()[-1])["bulk"]["accepted"] == 2_000
        named = await uploaded(session, door.url, LINES)
        before = most = resident(door)
        async with session.post(f"{door.url}/api/orders/bulk", json=named, headers=headers) as answer:
            place, seen = door.url + answer.headers["Location"], 0
            async for _ in answer.content:
                seen += 1
                if seen > LINES // 3:
                    break
                if seen % 5_000 == 0:
                    most = max(most, resident(door))
            answer.close()
        for _ in range(100):
            async with session.get(place) as told:
                kept = await told.json()
            if kept["status"] == "interrupted":
                break
            await asyncio.sleep(0.1)
        assert kept["status"] == "interrupted"
        assert 0 < kept["through"] <= LINES
        path, seen, last = f"{door.url}/api/orders/bulk?after={kept['through']}", 0, b""
        async with session.post(path, json=named, headers=headers) as answer:
            async for line in answer.content:
                seen, last = seen + 1, line
                if seen % 5_000 == 0:
                    most = max(most, resident(door))
        whole = json.loads(last)["bulk"]
        assert (whole["status"], whole["through"]) == ("completed", LINES)
        assert whole["accepted"] == LINES - kept["through"]
        most = max(most, resident(door))
        record_property("growth", f"{LINES} lines: {(most - before) / 2**20:.1f} MiB")
        assert most - before <= MOST_GROWTH
