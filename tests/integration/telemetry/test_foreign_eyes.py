"""Exported spans as receivers by others take them: oteltap and rotel, over OTLP with HTTP and protobuf."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource

from local.stack.ports import any_free, is_free
from shared.telemetry import RecordedSpan
from shared.telemetry.exporting import SpanExport
from tests.unit.functions.test_trace_tree import shipped
from tests.unit.traced import traced

SECONDS = 60.0
TRIES = 5
"""Ports that are tried where somebody else has bound one first."""


@pytest.fixture
async def spans() -> list[RecordedSpan]:
    """Those of an order that was retried twice."""
    with traced() as kept:
        await shipped()
    return kept.spans


def export(spans: list[RecordedSpan], port: int) -> None:
    """Send them."""
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
    with closing(SpanExport(exporter, Resource({"service.name": "sluice"}))) as sink:
        sink.write(spans)


async def test_oteltap_reads_every_span(spans: list[RecordedSpan]) -> None:
    """Each with its ids, parent, kind, times, links, error and attributes."""
    oteltap = pytest.importorskip("oteltap")
    for _ in range(TRIES):
        port = any_free()
        with suppress(oteltap.OtelTapInitializationError):
            receiver = await oteltap.OtelTapHttpProtobufReceiver(
                oteltap.OtelTapHttpProtobufReceiverSettings(http_port=port)
            ).start()
            break
    else:
        pytest.fail("no port was free")
    try:
        found: dict[str, Any] = {}

        async def listen() -> None:
            async for one in receiver.stream_traces():
                found[one.span_id.hex()] = one
                if len(found) == len(spans):
                    break

        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            await asyncio.sleep(0)  # it listens
            tasks.create_task(asyncio.to_thread(export, spans, port))
    finally:
        await receiver.stop()
    for span in spans:
        one = found[f"{span.span_id:016x}"]
        assert (one.name, one.trace_id.hex()) == (span.name, f"{span.trace_id:032x}")
        assert one.parent_span_id.hex() == (f"{span.parent_id:016x}" if span.parent_id else "")
        assert one.kind == span.kind.value + 1
        assert (one.start_time_unix_nano, one.end_time_unix_nano) == (span.started_at, span.ended_at)
        assert [link.span_id.hex() for link in one.links] == [f"{link.context.span_id:016x}" for link in span.links]
        assert (one.status.code == one.status.STATUS_CODE_ERROR) == (span.problem is not None)
        assert {attribute.key for attribute in one.attributes} == set(span.attributes)


@pytest.fixture
def rotel(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A collector that prints what it takes: its port, and where it prints."""
    package = importlib.util.find_spec("rotel")
    if package is None or package.origin is None:
        pytest.skip("rotel is not installed")
    agent = Path(package.origin).parent / "rotel-agent"
    if not agent.exists():
        pytest.skip("rotel has no agent for this machine")
    for number in range(TRIES):
        port = any_free(2)
        printed = tmp_path / f"rotel-{number}"
        with printed.open("wb") as out:
            process = subprocess.Popen(
                [
                    *(str(agent), "start", "--exporter", "blackhole"),
                    *("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{port + 1}"),
                    *("--debug-log", "traces", "--debug-log-verbosity", "detailed"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
            )
        until = time.monotonic() + SECONDS
        while process.poll() is None and is_free(port) and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is None:
            break
    else:
        pytest.skip("rotel doesn't start on this machine")
    try:
        yield port, printed
    finally:
        process.terminate()
        process.wait(SECONDS)


def printed_of(spans: list[RecordedSpan], port: int, printed: Path) -> str:
    """What the collector prints of them."""
    export(spans, port)
    until = time.monotonic() + SECONDS
    while (text := printed.read_text(errors="replace")).count("Trace ID") < len(spans) and time.monotonic() < until:
        time.sleep(0.1)
    return text


async def test_rotel_prints_every_span(spans: list[RecordedSpan], rotel: tuple[int, Path]) -> None:
    """A second opinion: names, kinds, parents and links in the Collector's debug format."""
    port, printed = rotel
    text = await asyncio.to_thread(printed_of, spans, port, printed)
    for span in spans:
        assert f"{span.span_id:016x}" in text
        assert span.name in text
    assert "carrier" in text
