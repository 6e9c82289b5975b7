"""What leaves the process, counted against a stand-in for Azure Monitor's ingestion."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).parent / "app_with_exporter.py"


class Ingestion:
    """Takes what exporters send to `/v2.1/track`, or never answers."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.hangs = False
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.hangs:
                    outer.release.wait(60)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                text = body.decode()
                found = json.loads(text) if text.startswith("[") else [json.loads(one) for one in text.splitlines()]
                outer.records += found
                answer = json.dumps({"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """A stand-in on loopback."""
    made = Ingestion()
    yield made
    made.close()


def run(project: Path, **environment: str) -> tuple[float, str]:
    """The app, to its end: the seconds between its last work and its end, and what it printed."""
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{project}{os.pathsep}{project / 'local-azure' / 'src'}",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
        "HOME": environment.pop("HOME", os.environ.get("HOME", "")),
    }
    done = subprocess.run(
        [sys.executable, str(APP)],
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ended = time.time()
    assert done.returncode == 0, done.stderr[-3_000:]
    return ended - float(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def insights(ingestion: Ingestion) -> dict[str, str]:
    """Settings that have the app export there."""
    to = f"InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint={ingestion.url}/"
    return {"APPLICATIONINSIGHTS_CONNECTION_STRING": to}


def test_each_thing_leaves_once(project: Path, ingestion: Ingestion) -> None:
    """Ten POSTs and one batch: a span for each step, nothing twice, no log line, no line of the exporter's own."""
    run(project, **insights(ingestion))
    kinds = Counter(one["data"]["baseType"] for one in ingestion.records)
    names = Counter(
        one["data"]["baseData"]["name"]
        for one in ingestion.records
        if one["data"]["baseType"] in ("RequestData", "RemoteDependencyData")
    )
    assert names == {
        "POST /api/orders": 10,
        "send normal": 10,
        "receive normal": 1,
        "process normal": 10,
        "handle order.placed": 10,
        "transaction": 4,
        "publish": 1,
    }
    measured = Counter(
        (one["data"]["baseData"]["metrics"][0]["name"], str(sorted(one["data"]["baseData"]["properties"].items())))
        for one in ingestion.records
        if one["data"]["baseType"] == "MetricData"
    )
    assert max(measured.values()) == 1
    assert len(ingestion.records) == 46 + len(measured)
    assert kinds["RequestData"] == 20
    ids = [one["data"]["baseData"]["id"] for one in ingestion.records if "id" in one["data"]["baseData"]]
    assert len(ids) == len(set(ids)) == 46


def test_lines_leave_by_the_app_only_where_the_host_forwards_none(project: Path, ingestion: Ingestion) -> None:
    """The worker announces OpenTelemetry by that switch: then, and only then, the app exports its own lines, once."""
    run(project, **insights(ingestion), PYTHON_ENABLE_OPENTELEMETRY="true")
    lines = [one for one in ingestion.records if one["data"]["baseType"] == "MessageData"]
    messages = Counter(one["data"]["baseData"]["message"].split(" {")[0] for one in lines)
    assert messages["batch"] == 1
    assert set(messages.values()) == {1}


def test_a_sampled_share_says_how_many_it_stands_for(project: Path, ingestion: Ingestion) -> None:
    """Where nothing fails nothing but the share leaves, and each span of a message carries its rate."""
    run(project, **insights(ingestion), SLUICE_TRACE_RATIO="0.5")
    rates = [
        one.get("sampleRate") for one in ingestion.records if one["data"]["baseData"].get("name") == "process normal"
    ]
    assert set(rates) <= {50.0}
    assert len(rates) < 10


def test_an_exporter_that_hangs_ends_with_the_process(project: Path, ingestion: Ingestion) -> None:
    """Five seconds are given to it, not the minute that it takes."""
    ingestion.hangs = True
    seconds, _ = run(project, **insights(ingestion))
    assert seconds < 30


def test_two_roads_are_refused(project: Path, ingestion: Ingestion) -> None:
    """The worker's own exporter beside the app's would have everything leave twice, and more."""
    with pytest.raises(AssertionError, match="has the worker export what the app exports already"):
        run(project, **insights(ingestion), PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY="true")
    assert ingestion.records == []
