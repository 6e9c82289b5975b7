"""What each stage costs with no traffic at all: `python -m tests.infra.cost` renews the table of docs/cost.md.

Counted from what is deployed, with the prices of `infra/prices.json`. What grows with use (operations, gigabytes,
executions beyond the timers') is in no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from local.bicep import Deployment, Resource
from tests.infra.deployed import STAGES, deployed

__all__ = ["BEGIN", "END", "Line", "lines_of", "table", "total"]

BEGIN, END = "<!-- made by tests.infra.cost -->", "<!-- end -->"
_PROJECT = Path(__file__).resolve().parent.parent.parent
_DAYS = 365 / 12
_SHORTEST_RUN = 1.0  # seconds: an execution is billed as one at least
_FREE_GB_SECONDS, _FREE_RUNS = 100_000, 250_000  # a month and subscription, on demand alone


class Line(NamedTuple):
    """A part, how many of it there are, and what they cost a month in USD."""

    part: str
    number: int
    usd: float


def lines_of(deployment: Deployment, prices: Mapping[str, Any]) -> list[Line]:
    """Everything that is billed by the hour or the month, and the runs of the timers.

    `prices` is `infra/prices.json`.
    """

    def cost(meter: str, count: float = 1.0) -> float:
        return float(prices["meters"][meter]["usd"]) * count

    apps = [_App(deployment, site) for site in deployment.of_type("Microsoft.Web/sites")]
    ready = [count * app.gigabytes for app in apps for count in app.ready.values()]
    runs = {zones: sum(app.runs_a_month for app in apps if app.zones is zones) for zones in (False, True)}
    busy = {
        zones: sum(app.runs_a_month * app.gigabytes for app in apps if app.zones is zones) * _SHORTEST_RUN
        for zones in (False, True)
    }
    timers = (
        cost("onDemandGbSecond", max(0.0, busy[False] - _FREE_GB_SECONDS))
        + cost("alwaysReadyRunGbSecond", busy[True])
        + cost("millionRuns", (max(0.0, runs[False] - _FREE_RUNS) + runs[True]) / 1e6)
    )
    (bus,) = deployment.of_type("Microsoft.ServiceBus/namespaces")
    (hubs,) = deployment.of_type("Microsoft.EventHub/namespaces")
    premium = bus.get("sku.name") == "Premium"
    bus_units = int(bus.get("sku.capacity")) * int(bus.get("properties.premiumMessagingPartitions"))
    hub_units = int(hubs.get("sku.capacity"))
    captured = any(
        one.get("properties.captureDescription") for one in _all(deployment, "EventHub/namespaces/eventhubs")
    )
    queries = [one for one in _all(deployment, "Insights/scheduledQueryRules") if one.properties["enabled"]]
    queues = len(_all(deployment, "ServiceBus/namespaces/queues"))
    series = sum(_series(one, queues) for one in _all(deployment, "Insights/metricAlerts"))
    gateways, doors = _all(deployment, "ApiManagement/service"), _all(deployment, "Cdn/profiles")
    hardware = [one for one in _all(deployment, "KeyVault/vaults/keys") if str(one.properties["kty"]).endswith("-HSM")]
    endpoints, zones = _all(deployment, "Network/privateEndpoints"), _all(deployment, "Network/privateDnsZones")
    return [
        Line("runs of the timers a day", round(sum(runs.values()) / _DAYS), timers),
        Line("instances that are always there", sum(sum(app.ready.values()) for app in apps),
             cost("alwaysReadyGbSecond", sum(ready) * prices["hoursAMonth"] * 3600)),
        Line("Service Bus Standard", int(not premium), cost("serviceBus Standard", not premium)),
        Line("messaging units of Service Bus Premium", bus_units, cost("serviceBus Premium", bus_units)),
        Line("Event Hubs, units to begin with", hub_units,
             cost("processingUnit" if hubs.get("sku.name") == "Premium" else "throughputUnit", hub_units)),
        Line("units with Capture", hub_units if captured else 0, cost("captureUnit", hub_units if captured else 0)),
        Line("gateway units", sum(int(one.get("sku.capacity")) for one in gateways),
             sum(cost(f"gateway {one.get('sku.name')}", int(one.get("sku.capacity"))) for one in gateways)),
        Line("Front Door Premium", len(doors), cost("frontDoor Premium", len(doors))),
        Line("private endpoints", len(endpoints), cost("privateEndpoint", len(endpoints))),
        Line("private DNS zones", len(zones), cost("privateZone", len(zones))),
        Line("log alerts", len(queries),
             sum(cost(f"logAlert {_billed(one.properties['evaluationFrequency'])}") for one in queries)),
        Line("series of metric alerts", series, cost("metricSeries", series)),
        Line("keys in hardware", len(hardware), cost("hardwareKey", len(hardware))),
    ]  # fmt: skip


def total(lines: Iterable[Line]) -> float:
    """USD a month."""
    return sum(line.usd for line in lines)


def table(stages: Mapping[str, Deployment], prices: Mapping[str, Any]) -> str:
    """The table in Markdown: a row for each part that any stage has, count and USD a month for each stage."""
    found = {stage: lines_of(deployment, prices) for stage, deployment in stages.items()}
    rows = list(zip(*found.values(), strict=True))
    head = ["| a month, without traffic | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    body = [
        f"| {row[0].part} | {' | '.join(_cell(line) for line in row)} |"
        for row in rows
        if any(one.number for one in row)
    ]
    sums = {stage: total(lines) for stage, lines in found.items()}
    month = f"| **USD a month** | {' | '.join(f'**{usd:,.0f}**' for usd in sums.values())} |"
    day = f"| **USD a day** | {' | '.join(f'**{usd / _DAYS:,.2f}**' for usd in sums.values())} |"
    return "\n".join([*head, *body, month, day])


class _App:
    """One app: memory of an instance in GB, instances that are always there by group, runs of its timers."""

    def __init__(self, deployment: Deployment, site: Resource) -> None:
        config = "properties.functionAppConfig.scaleAndConcurrency"
        settings = {one["name"]: str(one["value"]) for one in site.get("properties.siteConfig.appSettings")}
        mine = [
            one
            for one in deployment.value("declared")["functions"]
            if settings[f"AzureWebJobs.{one['name']}.Disabled"] == "false"
        ]
        plan = next(
            one for one in _all(deployment, "Web/serverfarms") if str(one) in str(site.properties["serverFarmId"])
        )
        asked = {str(one["name"]): int(one["instanceCount"]) for one in site.get(f"{config}.alwaysReady")}
        groups = {"http" if one["trigger"] == "http" else f"function:{one['name']}" for one in mine}
        self.zones = plan.properties["zoneRedundant"] is True
        self.gigabytes = int(site.get(f"{config}.instanceMemoryMB")) / 1024
        self.ready = {name: max(asked.get(name, 0), 2 if self.zones else 0) for name in sorted(groups)}
        self.runs_a_month = sum(_runs_a_day(one["schedule"]) for one in mine if "schedule" in one) * _DAYS


def _runs_a_day(schedule: str) -> float:
    """Of a schedule as the jobs' functions have it: every minute, or every so many seconds."""
    every = re.fullmatch(r"\*/(\d+) \* \* \* \* \*", schedule)
    if every is None and schedule != "0 * * * * *":
        raise ValueError(f"how often {schedule!r} runs isn't known here")
    return 86_400 / (int(every[1]) if every else 60)


def _all(deployment: Deployment, kind: str) -> Sequence[Resource]:
    return deployment.of_type(f"Microsoft.{kind}")


def _series(alert: Resource, entities: int) -> int:
    """One for each value of a dimension; `*` of the bus is each of its queues."""
    series = 1
    for dimension in alert.get("properties.criteria.allOf")[0]["dimensions"]:
        series *= entities if dimension["values"] == ["*"] else len(dimension["values"])
    return series


def _billed(frequency: str) -> str:
    return frequency if frequency in ("PT5M", "PT10M") else "PT15M"


def _cell(line: Line) -> str:
    return f"{line.number:,}: {line.usd:,.2f}" if line.number else ""


def main() -> None:
    """Write the table into the page."""
    prices = json.loads((_PROJECT / "infra" / "prices.json").read_text(encoding="utf-8"))
    page = _PROJECT / "docs" / "cost.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    made = table({stage: deployed(_PROJECT / "infra", stage) for stage in STAGES}, prices)
    page.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
