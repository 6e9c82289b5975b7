"""`plan`: what a load needs in Azure, which limit it meets first, what to paste into settings, and what it costs."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .load import Load, WrongLoad, bytes_of, factor_of, rate_of, seconds_of, share_of, shares_of
from .pricing import Cost, WrongPrices, cost_of, read_prices
from .sizing import Plan, plan_of

__all__ = ["main"]

DONE, WRONG = 0, 2
PROJECT = Path(__file__).resolve().parents[2]
PRICES = PROJECT / "infra" / "prices.json"
COUNTED = PROJECT / "bench" / "OPERATIONS.md"
_USUAL = Load(rate=1, size=1)


def main(arguments: Sequence[str]) -> int:
    """Print a plan; return the exit code: 2 for what can't be planned."""
    parser = _parser()
    try:
        known = parser.parse_args(list(arguments))
        load = _load(known)
        counted, retried = _counted(known.counted, claimed=load.claimed)
        prices = read_prices(known.prices)
        plan = plan_of(load, counted)
        cost = cost_of(plan, prices, retried)
    except SystemExit as ending:  # argparse has printed what is wrong
        return int(ending.code or 0)
    except (WrongLoad, WrongPrices) as error:
        sys.stderr.write(f"plan: {error}\n")
        return WRONG
    document = _document(plan, cost, prices.file)
    sys.stdout.write((json.dumps(document, indent=2) if known.json else _text(plan, cost, document)) + "\n")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("plan", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--rate", default="1000/s", help="messages on average: 5000/s, 300/min (default %(default)s)")
    add("--size", default="2KB", help="of a message (default %(default)s)")
    add("--peak", default="1x", help="the busiest seconds, as a multiple (default %(default)s)")
    add("--lanes", default="normal=100%", help="shares: high=10%%,normal=70%%,low=20%% (default normal)")
    add("--retention", default="7d", help="how long messages are remembered (default %(default)s)")
    add("--event-size", default="1KB", help="of an event (default %(default)s)")
    add("--events", type=float, default=_USUAL.events, help="of each message (default %(default)g)")
    add("--groups", type=int, default=_USUAL.groups, help="consumer groups (default %(default)s)")
    add("--batch", type=int, default=_USUAL.batch, help="messages of a batch (default %(default)s)")
    add("--batch-time", default="500ms", help="of a whole batch (default %(default)s)")
    add("--event-batch", type=int, default=_USUAL.event_batch, help="events of a batch (default %(default)s)")
    add("--event-batch-time", default="500ms", help="of a whole batch of events (default %(default)s)")
    add("--request-time", default="30ms", help="of a POST (default %(default)s)")
    add("--concurrency", type=int, default=_USUAL.concurrency, help="requests of an instance (default %(default)s)")
    add("--cores", type=float, default=_USUAL.cores, choices=(0.25, 1.0, 2.0), help="of an instance")
    add("--secrets", type=int, default=_USUAL.secrets, help="that an instance reads (default %(default)s)")
    add("--secret-time", default="5m", help="how long one is cached (default %(default)s)")
    add("--retries", default="1%", help="share of messages that are tried again (default %(default)s)")
    add("--retry-budget", default="20%", help="SLUICE_RETRY_BUDGET_SHARE (default %(default)s)")
    add("--notifications", default=None, help="Event Grid events, such as 50/s (default none)")
    add("--subscribers", type=int, default=_USUAL.subscribers, help="of those (default %(default)s)")
    add("--database-connections", type=int, default=_USUAL.database_connections, help="that a database of yours allows")
    add("--operations-per-request", type=float, default=1.0, help="on that database, side by side")
    add("--prices", type=Path, default=PRICES, metavar="FILE", help="a table like infra/prices.json")
    add("--counted", type=Path, default=COUNTED, metavar="FILE", help="a page like bench/OPERATIONS.md")
    add("--json", action="store_true", help="print one JSON object")
    return parser


_COUNTS = {
    "--events": (0.0, 1_000.0),
    "--groups": (1, 1_000),
    "--batch": (1, 10_000),
    "--event-batch": (1, 10_000),
    "--concurrency": (1, 1_000),
    "--secrets": (0, 10_000),
    "--subscribers": (1, 1_000_000),
    "--database-connections": (1, 10_000_000),
    "--operations-per-request": (0.01, 10_000.0),
}


def _load(known: argparse.Namespace) -> Load:
    for option, (least, most) in _COUNTS.items():
        value = getattr(known, option[2:].replace("-", "_"))
        if not least <= value <= most:  # also false for NaN
            raise WrongLoad(f"{option}: {value:g} must be from {least:g} to {most:g}")
    return Load(
        rate=rate_of("--rate", known.rate),
        size=bytes_of("--size", known.size),
        peak=factor_of("--peak", known.peak),
        lanes=shares_of("--lanes", known.lanes),
        retention=seconds_of("--retention", known.retention, most=3_650 * 86_400.0),
        events=known.events,
        event_size=bytes_of("--event-size", known.event_size),
        groups=known.groups,
        batch=known.batch,
        batch_time=seconds_of("--batch-time", known.batch_time, most=3_600),
        event_batch=known.event_batch,
        event_batch_time=seconds_of("--event-batch-time", known.event_batch_time, most=3_600),
        request_time=seconds_of("--request-time", known.request_time, most=230),
        concurrency=known.concurrency,
        cores=known.cores,
        secrets=known.secrets,
        secret_time=seconds_of("--secret-time", known.secret_time, most=86_400),
        retries=share_of("--retries", known.retries),
        retry_budget=share_of("--retry-budget", known.retry_budget),
        notifications=0.0 if known.notifications is None else rate_of("--notifications", known.notifications),
        subscribers=known.subscribers,
        database_connections=known.database_connections,
        operations_per_request=known.operations_per_request,
    )


def _counted(file: Path, *, claimed: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Operations of a message, and of one that is tried twice, as this app counted them."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongLoad(f"--counted: {file} can't be read: {error}") from None
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    if not rows or not {"first of its key", "retried once"} <= set(rows[0]):
        raise WrongLoad(f"--counted: {file} has no table with the columns of bench/OPERATIONS.md")
    first, second = (rows[0].index(name) for name in ("first of its key", "retried once"))
    claim = rows[0].index("claim of 100 KB") if claimed and "claim of 100 KB" in rows[0] else first
    try:
        return tuple({row[0]: int(row[column] or 0) for row in rows[2:] if _counts(row)} for column in (claim, second))  # type: ignore[return-value]
    except (ValueError, IndexError):
        raise WrongLoad(f"--counted: {file} holds something else than whole numbers") from None


def _counts(row: Sequence[str]) -> bool:
    return not row[0].startswith(("**", "-"))


def _document(plan: Plan, cost: Cost, prices: str) -> dict[str, Any]:
    return {
        "load": {"averageRate": plan.load.rate, "peakRate": plan.load.peak_rate, "size": plan.load.size},
        "needs": [
            {"name": one.name, "value": one.value, "unit": one.unit, "how": one.how, "figures": dict(one.others)}
            for one in plan.needs.values()
        ],
        "limits": [
            {"name": one.name, "timesThePeak": round(one.at, 3), "then": one.how, "passed": one.at < 1}
            for one in plan.limits
        ],
        "settings": _settings(plan),
        "parameters": _parameters(plan),
        "cost": {
            "prices": prices,
            "usdAMonth": {name: round(usd, 2) for name, usd in cost.parts.items()},
            "retries": round(cost.retries, 2),
            "planned": round(cost.planned, 2),
            "ceiling": round(cost.most, 2),
            "retryBudgetShareOfCeiling": round(cost.ceiling / cost.most, 4) if cost.most else 0.0,
        },
        "notes": list(plan.notes),
    }


def _settings(plan: Plan) -> dict[str, str]:
    return {
        "SLUICE_RETRY_BUDGET_SHARE": f"{plan.load.retry_budget:g}",
        "SLUICE_SECRET_TTL_SECONDS": f"{plan.load.secret_time:g}",
        "SLUICE_CLAIM_THRESHOLD_BYTES": str(plan.load.claim_threshold),
    }


def _parameters(plan: Plan) -> str:
    """What main.bicep takes; what no namespace has is cut to its limit, and `limits` says so."""
    load = plan.load
    instances = {lane: plan.value(f"{lane} instances") for lane in load.lanes}
    bulk = instances.get("normal", 0) + instances.get("low", 0)
    sizes = {
        "api": plan.value("HTTP instances"),
        "high": instances.get("high", 0),
        "bulk": bulk,
        "ordered": instances.get("ordered", 0),
        "streams": plan.value("streams instances"),
        "lake": plan.value("streams instances"),
    }
    memory = {0.25: 512, 1.0: 2_048, 2.0: 4_096}[load.cores]
    sku = "Premium" if plan.premium else "Standard"
    units = min(16, plan.value("messaging units")) if plan.premium else 1
    hub, partitions = "Premium" if plan.hub_premium else "Standard", plan.value("partitions")
    throughput = plan.processing_units if plan.hub_premium else plan.value("throughput units")
    hours = min(2_160 if hub == "Premium" else 168, max(1, round(load.retention / 3_600)))
    lines = [
        f"param stateAccounts = {plan.value('state accounts')}",
        f"param serviceBus = {{ sku: '{sku}', capacity: {units}, queueSizeMb: {81_920 if plan.premium else 5_120} }}",
        "param eventHubs = {",
        f"  sku: '{hub}'",
        f"  capacity: {min(40, throughput)}",
        f"  maximumCapacity: {40 if hub == 'Standard' else 0}",
        f"  partitions: {min(100 if hub == 'Premium' else 32, partitions)}",
        f"  retentionHours: {hours}",
        "  capture: true",
        "}",
        "param sizes = {",
        *(
            f"  {app}: {{ memoryMb: {memory}, maximumInstances: {min(1_000, max(1, count))}, alwaysReady: [], "
            f"httpConcurrency: {load.concurrency if app == 'api' else 1}, zones: false }}"
            for app, count in sizes.items()
        ),
        "}",
    ]
    return "\n".join(lines)


def _text(plan: Plan, cost: Cost, document: Mapping[str, Any]) -> str:
    load = plan.load
    lines = [f"{load.rate:g}/s on average, {load.peak_rate:g}/s at the peak, {load.size} bytes each", "", "needs"]
    for one in plan.needs.values():
        lines.append(f"  {one.name:<20} {one.value:>8,} {one.unit:<11} {one.how}")
        lines += [f"  {'':<20} {value:>8,} {'':<11} by {name}" for name, value in one.others.items()]
    lines += ["", "limits, the first that is met first"]
    lines += [
        f"  {_times(one.at):<24} {one.name}; then {one.how}" + ("  PASSED" if one.at < 1 else "") for one in plan.limits
    ]
    lines += ["", "settings", *(f"  {name}={value}" for name, value in document["settings"].items())]
    lines += ["", "parameters", *(f"  {line}" for line in document["parameters"].splitlines())]
    lines += ["", f"cost of 30 days in USD, by {document['cost']['prices']}"]
    lines += [f"  {name:<20} {usd:>14,.2f}" for name, usd in cost.parts.items()]
    lines.append(f"  {'retries, planned':<20} {cost.retries:>14,.2f}")
    lines.append(f"  {'planned':<20} {cost.planned:>14,.2f}")
    share = document["cost"]["retryBudgetShareOfCeiling"]
    lines.append(f"  {'ceiling':<20} {cost.most:>14,.2f}  retries can't break it: the budget's share is {share:.1%}")
    lines += ["", *plan.notes] if plan.notes else []
    return "\n".join(lines)


def _times(at: float) -> str:
    return f"at {at:.2f} × this peak" if at < 1_000 else "at 1,000 × this peak or more"
