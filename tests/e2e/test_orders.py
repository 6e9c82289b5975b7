"""Orders go through the whole stack, and every one of them can be accounted for."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import DevPy, RunningStack
from tests.e2e.sales import Sales, lake
from tests.scale import SCALE

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")]

REAL = {
    "input": 2_025,
    "accepted": 1_955,
    "orders": 1_629,
    "creditNotes": 326,
    "rejected": 70,
    "processed": 1_955,
    "deadLettered": 0,
    "lost": 0,
    "claimChecked": 24,
    "eventsPublished": 1_955,
    "readModelRows": 1_955,
}
SAMPLE = {
    "input": 2_000,
    "accepted": 1_931,
    "orders": 1_609,
    "creditNotes": 322,
    "rejected": 69,
    "processed": 1_931,
    "deadLettered": 0,
    "lost": 0,
    "claimChecked": 30,
    "eventsPublished": 1_931,
    "readModelRows": 1_931,
}


def state_of(data: Path) -> dict[tuple[str, str], str]:
    """The version of every row of the state table, as a stopped Azurite left it on disk; polls move by the clock."""
    tables = json.loads((data / "azurite" / "__azurite_db_table__.json").read_text())["collections"]
    (rows,) = [table["data"] for table in tables if table["name"].endswith("$state")]
    found = {(row["PartitionKey"], row["RowKey"]): row["eTag"] for row in rows}
    return {place: version for place, version in found.items() if not place[1].startswith("partner:poll")}


def of(figures: dict[str, Any], expected: dict[str, int]) -> dict[str, Any]:
    return {name: figures[name] for name in expected}


def test_the_sample_goes_through_and_a_second_run_changes_nothing(dev_py: DevPy, tmp_path: Path) -> None:
    """One run per line of the promise: all accounted for; then all suppressed, no row of the state touched.

    Each order gets its label, which is as much work again, so that the whole sample goes through in the nightly run.
    """
    limit = min(SAMPLE["input"], int(400 * SCALE))
    options = ("--limit", str(limit))
    first = dev_py.reconciled(tmp_path / "data", *options, carrier="express")
    assert of(first, SAMPLE) == SAMPLE or limit < SAMPLE["input"]
    accepted, orders = first["accepted"], first["orders"]
    assert (first["input"], accepted + first["rejected"], orders + first["creditNotes"]) == (limit, limit, accepted)
    assert [first[name] for name in ("processed", "eventsPublished", "readModelRows")] == [accepted] * 3
    assert (first["lost"], first["deadLettered"]) == (0, 0)
    assert first["duplicatesSuppressed"] < accepted  # a busy machine has some delivered again
    assert [first[name] for name in ("labels", "labelCalls", "webhooksReceived", "webhooksDelivered")] == [orders] * 4
    assert (first["duplicateLabels"], first["webhooksPending"]) == (0, 0)
    assert set(first["lanes"]) == {"high", "normal", "low"}
    assert first["lanes"]["high"]["count"] == first["creditNotes"] > 0
    assert all(0 < lane["p50Ms"] <= lane["p99Ms"] for lane in first["lanes"].values())
    before = state_of(tmp_path / "data")
    assert len(before) > 2 * accepted
    the_way_of_one_is_shown(dev_py, tmp_path / "data")

    second = dev_py.reconciled(tmp_path / "data", *options, carrier="express")
    same = ("input", "accepted", "processed", "eventsPublished", "readModelRows", "labels", "webhooksReceived")
    assert of(second, dict.fromkeys(same, 0)) == of(first, dict.fromkeys(same, 0))
    assert second["duplicatesSuppressed"] >= accepted
    assert (second["labelCalls"], second["duplicateLabels"]) == (0, 0)
    assert (second["webhooksDelivered"], second["webhooksPending"]) == (0, 0)
    after = state_of(tmp_path / "data")
    assert {place: after.get(place) for place in before} == before
    polled = after.keys() - before.keys()  # a poll that was due in the second run alone brings each shipment once more
    assert all(row.startswith("inbox:") for _, row in polled)
    assert len(polled) <= first["labels"]


def the_way_of_one_is_shown(dev_py: DevPy, data: Path) -> None:
    """By `dev.py trace`, from its POST to its row, also when the stack has stopped; an order's to the customer's door.

    Of those whose batch was kept: a host that is busy for long drops the oldest spans.
    """
    credited = shown_of(dev_py, data, "handle order.credited", "receive high")
    assert {"POST", "send", "receive", "process", "handle", "transaction", "publish"} <= credited
    shipped = shown_of(dev_py, data, "partner call", "publish")
    assert {"POST", "send", "process", "handle", "partner", "transaction", "publish"} <= shipped


def shown_of(dev_py: DevPy, data: Path, own: str, linked: str) -> set[str]:
    """The kinds of spans of a message that has one of its own, and one of a batch, by these names."""
    batch = "SELECT links.trace FROM links JOIN spans ON spans.id = links.span WHERE spans.name = ?"
    query = f"kind = 'message' AND trace IN (SELECT trace FROM spans WHERE name = ?) AND trace IN ({batch})"
    with closing(sqlite3.connect(data / "spans.sqlite")) as database:
        (message,) = database.execute(f"SELECT value FROM names WHERE {query} LIMIT 1", (own, linked)).fetchone()
    shown = dev_py.ask("trace", message, "--json", "--data-dir", str(data))
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["outcome"] == "done"
    assert "done after" in dev_py.ask("trace", message, "--data-dir", str(data)).stdout
    return {span["name"].split(" ")[0] for span in found["spans"]}


def test_the_real_month_goes_through(dev_py: DevPy, tmp_path: Path, retail_file: Path) -> None:
    figures = dev_py.reconciled(tmp_path / "data", "--orders", str(retail_file))
    assert of(figures, REAL) == REAL
    (rejection,) = figures["rejections"]
    assert rejection["count"] == 70
    assert rejection["reason"].startswith("lines.quantity: ")
    assert rejection["example"] == "invoice 536589, line 1"
    the_lake_equals(dev_py.project, tmp_path / "data", Sales(retail_file), figures)


_ALL_OF_IT = """
    select 'sales' as what, day::varchar as a, country as b, orders::varchar as c, units::varchar as d,
           revenue::varchar as e from gold.daily_sales
    union all
    select 'line', key, sku, quantity::varchar, unit_price::varchar, '' from silver.order_accepted_lines
    union all
    select 'credit', key, sku, quantity::varchar, unit_price::varchar, '' from silver.order_credit_accepted_lines
"""


def the_lake_equals(project: Path, data: Path, sales: Sales, figures: dict[str, Any]) -> None:
    """Silver has every line, gold what DuckDB computes from the file; rebuilt from bronze both are the same."""

    def everything() -> list[tuple[str, ...]]:
        return sorted(tuple(row.values()) for row in lake(project, data, "query", _ALL_OF_IT)["rows"])

    assert sales.invoices == figures["accepted"]
    expected = sales.as_text()
    assert everything() == expected
    status = lake(project, data, "rebuild")
    assert status["problems"] == []
    assert all(one["events"] == one["last"] + 1 > 0 and not one["gaps"] for one in status["bronze"])
    assert everything() == expected
    kept = {f"{one['layer']}.{one['table']}": one["rows"] for one in status["tables"] if one["rows"]}
    assert sum(kept.values()) == figures["lakeRows"]


@pytest.mark.parametrize("victims", [["host-0", "host-0"], ["emulator"]])
def test_killed_processes_change_no_figure(dev_py: DevPy, tmp_path: Path, victims: list[str]) -> None:
    """Our processes die without warning while orders come in and are worked on; the whole sample in the nightly run."""
    file, limit = tmp_path / "figures.json", min(SAMPLE["input"], int(700 * SCALE))
    with dev_py.started(tmp_path / "data", "--once", "--limit", str(limit), "--json", str(file)) as stack:
        for victim in victims:
            kill_in_the_middle(stack, victim)
        stack.wait_for(lambda: stack.process.poll() is not None or file.exists(), 400)
        assert stack.process.wait(60) == 0, stack.printed()[-3_000:]
        assert "killed by signal 9" in stack.printed()  # said once where it dies again before it was ready
    figures = json.loads(file.read_text())
    accepted = figures["accepted"]
    assert (figures["input"], accepted + figures["rejected"]) == (limit, limit)
    assert [figures[name] for name in ("processed", "eventsPublished", "readModelRows")] == [accepted] * 3
    assert (figures["lost"], figures["deadLettered"], figures["reconciled"]) == (0, 0, True)
    silver = figures["lakeTables"]
    assert silver["silver.order_accepted"] + silver["silver.order_credit_accepted"] == accepted
    assert of(figures, SAMPLE) == SAMPLE or limit < SAMPLE["input"]


def kill_in_the_middle(stack: RunningStack, victim: str) -> None:
    """Kill a process once the host has worked for a moment since the last one was killed."""
    pid = stack.wait_for(lambda: stack.processes().get(victim))
    log = stack.data / "logs" / "host-0.log"
    start = log.stat().st_size
    stack.wait_for(lambda: '"event": "batch"' in log.read_text(errors="replace")[start:])
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    stack.wait_for(lambda: stack.processes().get(victim) not in (None, pid))


def test_hosts_that_compete_account_for_every_order_once(dev_py: DevPy, tmp_path: Path) -> None:
    figures = dev_py.reconciled(tmp_path / "data", "--instances", "2", "--limit", "300")
    assert figures["input"] == 300
    assert figures["accepted"] == figures["processed"] == figures["readModelRows"]


def test_invoices_that_cannot_be_read_are_reported_and_the_others_go_through(dev_py: DevPy, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,A,Café,2,12/1/2010 8:26,1.10,17850.0,France\n"
        "2,B,,two,12/1/2010 8:26,1.10,,France\n"
        "3,C,,2,12/1/2010 8:26,-1,,France\n"
        "C4,D,,2,12/1/2010 8:26,1,,France\n"
        "1,E,,1,12/1/2010 8:26,0.05,,\n",
        encoding="latin-1",
    )
    figures = dev_py.reconciled(tmp_path / "data", "--orders", str(file), carrier="post")
    assert (figures["input"], figures["accepted"], figures["rejected"]) == (4, 1, 3)
    assert (figures["labels"], figures["labelCalls"], figures["webhooksReceived"]) == (1, 1, 1)
    told = {rejection["example"]: rejection["reason"] for rejection in figures["rejections"]}
    assert len(told) == 3
    assert "invoice 3, line 1" in told
    assert "invoice C4, line 1" in told
    assert any("line 3 of the file" in example for example in told)
