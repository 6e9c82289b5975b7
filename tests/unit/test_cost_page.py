"""The tables of docs/cost.md are what its formulas give."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

RATES = (10, 1_000, 100_000)
MESSAGE_KB, FACT_KB, BATCH, BATCH_SECONDS = 2, 1, 64, 0.5
REQUEST_SECONDS, CONCURRENCY = 0.03, 16
SECRETS, TTL_SECONDS = 10, 300
UNITS = (1, 2, 4, 8, 16)


def messaging_units(rate: int) -> int:
    """What goes in and out, at 4 MB/s a unit used to 70%, in the sizes that are sold or in whole namespaces of 16."""
    needed = math.ceil(2 * rate * MESSAGE_KB / 1_000 / 4 / 0.7)
    return next((size for size in UNITS if size >= needed), math.ceil(needed / 16) * 16)


def throughput_units(rate: int) -> int:
    """The largest of the four limits, one consumer group reading."""
    megabytes = rate * FACT_KB / 1_000
    return math.ceil(max(megabytes, rate / 1_000, megabytes / 2, rate / 4_096))


def lane_instances(rate: int) -> int:
    """Batches of 64 that take half a second."""
    return math.ceil(rate * BATCH_SECONDS / BATCH)


def http_instances(rate: int) -> int:
    """Requests of 30 ms, 16 at once."""
    return math.ceil(rate * REQUEST_SECONDS / CONCURRENCY)


def table_operations() -> int:
    """What the first message of a key asks of tables: reads, and rows written, as they are counted."""
    counted = Path(__file__).parents[2] / "bench" / "OPERATIONS.md"
    cells = [line.strip("| ").split(" | ") for line in counted.read_text(encoding="utf-8").splitlines()]
    first = {row[0]: row[1].strip() for row in cells if len(row) > 2}
    asked = ("table point reads", "table queries", "table entities written")
    return sum(int(first[name] or 0) for name in asked if name in first)


def state_accounts(rate: int) -> int:
    """The counted operations a message, 20,000 a second and account, used to 70%."""
    return math.ceil(rate * table_operations() / 20_000 / 0.7)


def vault_reads(rate: int) -> float:
    """Reads a second of all instances."""
    return (lane_instances(rate) + http_instances(rate)) * SECRETS / TTL_SECONDS


@pytest.fixture(scope="module")
def rows(project: Path) -> dict[str, list[str]]:
    """The table of three loads, by its first column."""
    text = (project / "docs" / "cost.md").read_text(encoding="utf-8").partition("## Three loads")[2]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_units_are_what_the_formulas_give(rows: dict[str, list[str]]) -> None:
    """Every figure of the table, computed again."""
    assert rows["lane instances"] == [str(lane_instances(rate)) for rate in RATES]
    assert rows["HTTP instances"] == [str(http_instances(rate)) for rate in RATES]
    assert rows["state accounts"] == [str(state_accounts(rate)) for rate in RATES]
    assert rows["Key Vault reads a second"] == [f"{vault_reads(rate):.1f}" for rate in RATES]
    assert [int(re.findall(r"\d+", cell)[0]) for cell in rows["Event Hubs"]] == [throughput_units(r) for r in RATES]
    standard, *premium = rows["Service Bus"]
    assert standard == "Standard"
    assert [int(re.findall(r"\d+", cell)[0]) for cell in premium] == [messaging_units(rate) for rate in RATES[1:]]


def test_the_stamp_fits_a_subscription(project: Path) -> None:
    """What is said of 10,000 a second is what the formulas give, and within 250 cores of 1 core each."""
    text = " ".join((project / "docs" / "cost.md").read_text(encoding="utf-8").split())
    rate = 10_000
    said = f"{lane_instances(rate)} lane instances; {state_accounts(rate)} state accounts"
    assert f"so {messaging_units(rate)}; {said}" in text
    assert lane_instances(rate) + http_instances(rate) <= 250


def test_the_page_says_how_many_table_operations_are_counted(project: Path) -> None:
    """A change of the counts has to be told here too."""
    text = " ".join((project / "docs" / "cost.md").read_text(encoding="utf-8").split())
    assert f"A message takes {table_operations()} (" in text
