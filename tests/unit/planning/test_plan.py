"""The planner: Microsoft's published examples, this project's own page, and what can't be planned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.operations import PRICES
from ops.planning import main
from ops.planning.load import Load, WrongLoad, bytes_of, factor_of, rate_of, seconds_of, shares_of
from ops.planning.pricing import cost_of, read_prices
from ops.planning.sizing import UNITS, plan_of, sold

COUNTED = {"table point reads": 3, "table entities written": 8, "bus messages sent": 1, "events sent": 1}
RETRIED = {**COUNTED, "table point reads": 5, "bus messages sent": 2}


def planned(**changes: Any) -> Any:
    return plan_of(Load(**{"rate": 1_000.0, "size": 2_000, "retries": 0.0, **changes}), COUNTED)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    out = capsys.readouterr()
    return json.loads(out.out) if code == 0 else out.err


@pytest.mark.parametrize(
    ("changes", "need", "expected"),
    [
        # Azure documentation, articles/event-hubs/includes/event-hubs-partition-count.md: "if your use case requires
        # 20 MB/s, it is recommended to choose at least 20 partitions".
        ({"rate": 20_000.0, "event_size": 1_000, "event_batch_time": 0.001}, "partitions", 20),
        ({"rate": 2_000.0, "event_size": 10_000, "event_batch_time": 0.001}, "partitions", 20),
        # Azure documentation, articles/event-hubs/event-hubs-scalability.md: a throughput unit takes up to 1 MB or
        # 1,000 events a second in, and gives up to 2 MB or 4,096 events out.
        ({"rate": 1_000.0, "event_size": 1_000}, "throughput units", 1),
        ({"rate": 1_001.0, "event_size": 10}, "throughput units", 2),
        ({"rate": 500.0, "event_size": 2_002}, "throughput units", 2),
        ({"rate": 4_096.0, "event_size": 10, "groups": 2}, "throughput units", 5),
        ({"rate": 4_000.0, "event_size": 1_000, "groups": 10}, "throughput units", 20),
        # The Azure integration guide that this project began with: 100,000 events a second are 100 units.
        ({"rate": 100_000.0, "event_size": 1_000}, "throughput units", 100),
        # Azure documentation, articles/service-bus-messaging/service-bus-performance-improvements.md: about 4 MB/s of
        # ingress and egress a messaging unit; service-bus-premium-messaging.md: 1, 2, 4, 8 or 16, more above 70%.
        ({"rate": 700.0, "size": 2_000}, "messaging units", 1),
        ({"rate": 701.0, "size": 2_000}, "messaging units", 2),
        ({"rate": 1_000.0, "size": 2_000}, "messaging units", 2),
        ({"rate": 10_000.0, "size": 2_000}, "messaging units", 16),
        # The guide's own formula is the larger need for small messages: 1,000 a second and unit.
        ({"rate": 7_500.0, "size": 100}, "messaging units", 8),
        ({"rate": 16_001.0, "size": 100}, "messaging units", 32),
    ],
)
def test_published_examples(changes: dict[str, Any], need: str, expected: int) -> None:
    assert planned(**changes).value(need) == expected


def test_both_figures_of_a_messaging_unit_are_there_and_the_larger_counts() -> None:
    need = planned(rate=1_000.0, size=20_000).needs["messaging units"]
    assert sorted(need.others.values()) == [1, 15]
    assert need.value == 16


def test_the_plan_of_the_cost_page(project: Path) -> None:
    """The page's three loads give the page's units."""
    text = (project / "docs" / "cost.md").read_text(encoding="utf-8").partition("## Three loads")[2]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    table = {cells[0]: cells[1:] for cells in rows}
    for column, rate in enumerate((10.0, 1_000.0, 100_000.0)):
        plan = planned(rate=rate)
        assert plan.value("HTTP instances") == int(table["HTTP instances"][column])
        assert plan.value("normal instances") == int(table["lane instances"][column])
        assert plan.value("state accounts") == int(table["state accounts"][column])
        assert plan.value("throughput units") == int(re.findall(r"\d+", table["Event Hubs"][column])[0])
        if plan.premium:
            assert plan.value("messaging units") == int(re.findall(r"\d+", table["Service Bus"][column])[0])
        else:
            assert table["Service Bus"][column] == "Standard"


def test_which_limit_comes_first() -> None:
    assert planned(rate=100_000.0).limits[0].at < 1
    limits = planned(rate=2_000.0, event_batch_time=5.0).limits
    assert [one.at for one in limits] == sorted(one.at for one in limits)
    assert limits[0].name.startswith("32 partitions")
    assert planned(rate=450.0, size=500).limits[0].name.startswith("1,000 credits")
    assert planned(rate=1_000.0, size=20_000, batch_time=0.01).limits[0].name.startswith("16 messaging units")


def test_connections_pools_and_event_grid_by_the_formulas_of_capacity_plans() -> None:
    plan = planned(
        rate=2_000.0, database_connections=100, operations_per_request=2.0, notifications=450.0, subscribers=3
    )
    pool = plan.needs["pool size"]
    assert list(pool.others.values()) == [100 // (plan.value("connections") // 2), 32, 5]
    assert pool.value == min(pool.others.values())
    assert plan.value("Event Grid topics") == 5
    assert sorted(plan.needs["Event Grid topics"].others.values()) == [1, 1, 5]
    assert "Event Grid topics" not in planned().needs


@given(st.floats(0.01, 1e6), st.integers(1, 250_000), st.floats(1, 10), st.floats(0, 0.5), st.floats(0, 0.5))
def test_more_load_never_needs_less_and_retries_never_break_the_ceiling(
    rate: float, size: int, peak: float, retries: float, budget: float
) -> None:
    small = plan_of(Load(rate=rate, size=size, retries=retries, retry_budget=budget), COUNTED)
    large = plan_of(Load(rate=rate, size=size, peak=peak, retries=retries, retry_budget=budget), COUNTED)
    assert all(large.value(name) >= small.value(name) for name in small.needs if name != "pool size")
    assert large.value("messaging units") in UNITS or large.value("messaging units") % 16 == 0
    cost = cost_of(small, read_prices(Path("infra/prices.json").resolve()), RETRIED)
    assert sum(cost.parts.values()) <= cost.planned <= cost.most * (1 + 1e-9)


def test_a_retry_costs_and_the_budget_bounds_it(capsys: pytest.CaptureFixture[str]) -> None:
    none = told(capsys, "--rate", "100/s", "--retry-budget", "0%", "--retries", "0%")["cost"]
    some = told(capsys, "--rate", "100/s", "--retry-budget", "20%", "--retries", "1%")["cost"]
    assert none["planned"] == none["ceiling"]
    assert some["planned"] < some["ceiling"]
    assert some["ceiling"] == pytest.approx(none["ceiling"] * (1 + some["retryBudgetShareOfCeiling"]), rel=0.2)
    assert 0 < some["retryBudgetShareOfCeiling"] < 0.2


def test_the_price_of_an_operation_is_the_one_of_the_benchmark(project: Path) -> None:
    usd = read_prices(project / "infra" / "prices.json").usd
    assert PRICES["table entities written"] * 1e6 == pytest.approx(usd["millionTableOperations"])
    assert PRICES["blob reads"] * 1e6 == pytest.approx(usd["millionBlobReads"])
    assert PRICES["blob writes"] * 1e6 == pytest.approx(usd["millionBlobWrites"])
    assert PRICES["bus messages sent"] * 1e6 == pytest.approx(usd["millionBusOperations"])
    assert PRICES["events sent"] * 1e6 == pytest.approx(usd["millionEvents"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "0/s"], "--rate: 0 /s must be from 0.001"),
        (["--rate=-5/s"], "--rate: '-5/s' is not a rate"),
        (["--rate", "5000"], "--rate: '5000' is not a rate"),
        (["--rate", "5000/fortnight"], "--rate: '5000/fortnight' is not a rate"),
        (["--rate", "1e12/s"], "--rate: 1e+12 /s must be from 0.001 to 1e+07"),
        (["--rate", "nan/s"], "--rate: 'nan/s' is not a rate"),
        (["--rate", "٣/s"], "--rate"),
        (["--size", "0B"], "--size: 0 bytes must be from 1"),
        (["--size", "2"], "--size: '2' is not a size"),
        (["--size", "2PB"], "--size: '2PB' is not a size"),
        (["--size", "1000MB"], "--size: 1e+09 bytes must be"),
        (["--peak", "0.5x"], "--peak: 0.5 x must be from 1"),
        (["--peak", "3"], "--peak: '3' is not a factor"),
        (["--lanes", "high=50%"], "--lanes: the shares add up to 50.0%"),
        (["--lanes", "slow=100%"], "--lanes: 'slow=100%' is not LANE=SHARE; lanes are high"),
        (["--lanes", "high=50%,high=50%"], "--lanes: high is named twice"),
        (["--lanes", "high=150%"], "--lanes high: 1.5 of all"),
        (["--retention", "0d"], "--retention"),
        (["--retention", "forever"], "--retention: 'forever' is not a time"),
        (["--batch", "0"], "--batch: 0 must be from 1"),
        (["--events", "nan"], "--events: nan must be from 0"),
        (["--retries", "101%"], "--retries: 1.01 of all"),
        (["--notifications", "0/s"], "--notifications: 0 /s"),
        (["--prices", "/nowhere.json"], "/nowhere.json: can't be read"),
        (["--counted", "/nowhere.md"], "--counted: /nowhere.md can't be read"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = told(capsys, *arguments, code=2)
    assert error.startswith(f"plan: {said}"), error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"usd": 0.036', '"usd": -1'), "line {}: millionTableOperations: usd must be"),
        (lambda text: text.replace('"usd": 0.036', '"usd": "a lot"'), "line {}: millionTableOperations: usd must be"),
        (lambda text: text.replace('"usd": 0.036', '"usd": true'), "line {}: millionTableOperations: usd must be"),
        (lambda text: text.replace('"usd": 0.036', '"usd": 1e999'), "line {}: millionTableOperations: usd must be"),
        (lambda text: text.replace('"usd": 0.036,', '"usd": 0.036;'), "line {}: Expecting ',' delimiter"),
    ],
)
def test_a_bad_price_is_refused_by_its_line(
    change: Any, said: str, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / "infra" / "prices.json").read_text(encoding="utf-8")
    number = next(n for n, line in enumerate(text.splitlines(), start=1) if "millionTableOperations" in line)
    file = tmp_path / "prices.json"
    file.write_text(change(text), encoding="utf-8")
    assert said.format(number) in told(capsys, "--prices", str(file), code=2)


@pytest.mark.parametrize("text", ["[]", "{}", '{"meters": {}}', '{"meters": {"storageGb": 3}}', "[" * 100_000, "\xff"])
def test_what_is_no_table_of_prices_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.json").write_text(text, encoding="latin-1")
    assert "p.json" in told(capsys, "--prices", str(tmp_path / "p.json"), code=2)


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_refused_by_name(text: str) -> None:
    for read in (rate_of, bytes_of, factor_of, seconds_of, shares_of):
        try:
            read("--x", text)
        except WrongLoad as error:
            assert str(error).startswith("--x")  # noqa: PT017


def test_the_text_says_all_that_the_json_does(capsys: pytest.CaptureFixture[str]) -> None:
    document = told(capsys, "--rate", "5000/s", "--peak", "3x", "--lanes", "high=10%,normal=70%,low=20%")
    assert main(["--rate", "5000/s", "--peak", "3x", "--lanes", "high=10%,normal=70%,low=20%"]) == 0
    text = capsys.readouterr().out
    for one in document["needs"]:
        assert re.search(rf"{re.escape(one['name'])}\s+{one['value']:,}\b", text), one
    assert "PASSED" in text
    assert "retries can't break it" in text
    assert document["limits"][0]["name"] in text.partition("limits")[2].splitlines()[1]
    for line in document["parameters"].splitlines():
        assert line in text


def test_what_a_plan_cannot_show_in_figures_is_noted() -> None:
    assert any("they wait" in note for note in planned(retries=0.3, retry_budget=0.2).notes)
    assert any("7 days on Standard" in note for note in planned(retention=30 * 86_400.0).notes)
    assert any("90 on Premium" in note for note in planned(retention=400 * 86_400.0).notes)
    assert any("pooler" in note for note in planned(rate=100_000.0, database_connections=10).notes)
    assert any("isolated" in note for note in planned(rate=10.0).notes)
    assert planned().notes == ()


def test_units_are_sold_in_steps() -> None:
    assert [sold(units) for units in (1, 2, 3, 5, 9, 16, 17, 100)] == [1, 2, 4, 8, 16, 16, 32, 112]


def test_the_commands_of_the_page_plan_something(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (project / "docs" / "capacity.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 dev\.py plan (.+)$", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert main(command.split()) == 0
        assert "ceiling" in capsys.readouterr().out
