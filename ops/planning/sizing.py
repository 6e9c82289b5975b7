"""From a load to units: Microsoft's documented limits, the older figures of capacity plans, and what this app counts.

Where two figures of the same thing are known, both are computed and the larger need counts. Sources:

- Service Bus: "Best practices for performance improvements using Service Bus" (about 4 MB/s of ingress and egress a
  messaging unit, measured) and "Premium messaging tier" (1, 2, 4, 8 or 16 units; more of them above 70% of CPU).
  Older plans reckon with 1,000 messages and 80 MB a second, and 5,000 connections. Standard has 1,000 credits a second.
- Event Hubs: "Scaling with Event Hubs" (1 MB or 1,000 events a second in, 2 MB or 4,096 out; 40 units), and for
  partitions 1 MB/s each.
- Table storage: 20,000 entities a second and account. Key Vault: 4,000 reads in 10 seconds.
- Flex Consumption: 250 cores for a subscription and region.
- Event Grid, custom topics: 5,000 events or 5 MB a second, 500 subscriptions; older plans reckon with 100 a second.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .load import Load

__all__ = ["UNITS", "Limit", "Need", "Plan", "plan_of"]

UNITS = (1, 2, 4, 8, 16)
USED = 0.7
"""Share of a unit that is planned with: above it Service Bus should grow, and storage throttles in bursts."""
_STANDARD_RATE = 500.0
_MONTH = 30 * 86_400
_STANDARD_PARTITIONS, _STANDARD_UNITS = 32, 40
_CONNECTIONS_AN_INSTANCE = 2
"""One to Service Bus and one to Event Hubs: links share it."""
_POOL_A_CORE = 5


@dataclass(frozen=True, slots=True)
class Need:
    """One line of a plan: how much of what, how that was reckoned, and the other figures that were known."""

    name: str
    value: int
    unit: str
    how: str
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a service ends at, as a multiple of the planned peak."""

    name: str
    at: float
    how: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load needs, by name, and the limits in the order in which they are met."""

    load: Load
    needs: Mapping[str, Need]
    limits: tuple[Limit, ...]
    monthly: Mapping[str, float]
    premium: bool
    notes: tuple[str, ...]

    def value(self, name: str) -> int:
        """How much of something."""
        return self.needs[name].value

    @property
    def hub_premium(self) -> bool:
        """Whether the hub needs more than Standard has: 32 partitions, and 40 throughput units."""
        return self.value("partitions") > _STANDARD_PARTITIONS or self.value("throughput units") > _STANDARD_UNITS

    @property
    def processing_units(self) -> int:
        """Of Event Hubs Premium: 5 MB/s in each, the lower end of what Microsoft measured."""
        return math.ceil(self.value("throughput units") / 5)


def plan_of(load: Load, counted: Mapping[str, int]) -> Plan:
    """The plan of a load.

    Parameters
    ----------
    counted:
        Operations of one message, by the names of `bench/OPERATIONS.md`.
    """
    lanes = {lane: _lane_instances(load, share) for lane, share in load.lanes.items()}
    http = math.ceil(load.peak_rate * load.request_time / load.concurrency)
    streams = math.ceil(load.peak_rate * load.events * load.event_batch_time / load.event_batch)
    instances = sum(lanes.values()) + http + streams
    cores = math.ceil(instances * load.cores)
    table = sum(counted.get(name, 0) for name in ("table point reads", "table queries", "table entities written"))
    needs = [
        _messaging_units(load, instances),
        _throughput_units(load),
        _partitions(load, streams),
        Need("HTTP instances", http, "", f"{load.peak_rate:g}/s × {load.request_time:g} s ÷ {load.concurrency}"),
        *(
            Need(f"{lane} instances", count, "", f"batches of {load.batch} in {load.batch_time:g} s")
            for lane, count in lanes.items()
        ),
        Need(
            "streams instances",
            streams,
            "",
            f"batches of {load.event_batch} events in {load.event_batch_time:g} s; one a partition at most",
        ),
        Need("cores", cores, "of 250", f"{instances} instances × {load.cores:g}"),
        Need(
            "state accounts",
            max(1, math.ceil(load.peak_rate * table / 20_000 / USED)),
            "",
            f"{table} table operations a message, counted; 20,000/s an account, used to {USED:.0%}",
        ),
        Need(
            "vault reads in 10 s",
            math.ceil(instances * load.secrets / load.secret_time * 10),
            "of 4,000",
            f"{instances} instances × {load.secrets} secrets ÷ {load.secret_time:g} s",
        ),
        Need("connections", instances * _CONNECTIONS_AN_INSTANCE, "", f"{_CONNECTIONS_AN_INSTANCE} an instance"),
        _pool(load, instances),
        *_event_grid(load),
        Need(
            "state kept",
            math.ceil(load.rate * load.retention * (load.size if not load.claimed else 1_000) * 2 / 1e9),
            "GB",
            f"inbox and state of {load.retention / 86_400:g} days",
        ),
        Need(
            "claims kept",
            math.ceil(load.rate * load.retention * load.size / 1e9) if load.claimed else 0,
            "GB",
            f"payloads above {load.claim_threshold} bytes",
        ),
    ]
    by_name = {one.name: one for one in needs}
    premium = load.rate * load.peak > _STANDARD_RATE or load.bus_size > 256_000
    return Plan(
        load=load,
        needs=by_name,
        limits=tuple(sorted(_limits(load, by_name, table, premium=premium), key=lambda one: (one.at, one.name))),
        monthly=_monthly(load, counted),
        premium=premium,
        notes=_notes(load, by_name, premium=premium),
    )


def _lane_instances(load: Load, share: float) -> int:
    return math.ceil(load.peak_rate * share * (1 + load.retries) * load.batch_time / load.batch)


def sold(units: int) -> int:
    """Messaging units as they are sold: 1, 2, 4, 8 or 16, and above that whole namespaces of 16."""
    return next((size for size in UNITS if size >= units), math.ceil(units / 16) * 16)


def _megabytes(load: Load) -> float:
    """A second at the peak, in and out together, retries among them."""
    return 2 * load.peak_rate * (1 + load.retries) * load.bus_size / 1e6


def _messaging_units(load: Load, instances: int) -> Need:
    megabytes = _megabytes(load)
    connections = instances * _CONNECTIONS_AN_INSTANCE
    measured = max(1, math.ceil(round(megabytes / 4 / USED, 9)))
    older = max(1, math.ceil(load.peak_rate / 1_000), math.ceil(megabytes / 80), math.ceil(connections / 5_000))
    return Need(
        "messaging units",
        sold(max(measured, older)),
        "",
        f"{megabytes:.3g} MB/s in and out ÷ 4 ÷ {USED:g}",
        {"4 MB/s a unit, today's document": measured, "1,000/s, 80 MB/s, 5,000 connections a unit, older plans": older},
    )


def _throughput_units(load: Load) -> Need:
    events = load.peak_rate * load.events
    megabytes = events * load.event_size / 1e6
    units = math.ceil(
        round(max(megabytes, events / 1_000, megabytes * load.groups / 2, events * load.groups / 4_096), 9)
    )
    return Need(
        "throughput units",
        max(1, units),
        "",
        f"{events:g} events/s, {megabytes:.3g} MB/s in, {load.groups} times out",
        {"processing units of Dedicated at 10 MB/s or 10,000/s, older plans": max(1, math.ceil(units / 10))},
    )


def _partitions(load: Load, streams: int) -> Need:
    megabytes = load.peak_rate * load.events * load.event_size / 1e6
    by_rate = max(math.ceil(round(megabytes, 9)), math.ceil(load.peak_rate * load.events / 1_000))
    return Need(
        "partitions",
        max(1, by_rate, streams),
        "",
        "1 MB/s or 1,000 events/s each, and one for each reading instance; fixed at birth",
        {"what comes in": by_rate, "the instances that read": streams},
    )


def _pool(load: Load, instances: int) -> Need:
    choices = {
        "connections of the database ÷ instances": load.database_connections // max(1, instances),
        "concurrent requests × operations each": math.ceil(load.concurrency * load.operations_per_request),
        f"cores × {_POOL_A_CORE}": max(1, math.ceil(load.cores * _POOL_A_CORE)),
    }
    return Need("pool size", max(1, min(choices.values())), "an instance", "the least of the three", choices)


def _event_grid(load: Load) -> list[Need]:
    if not load.notifications:
        return []
    at_peak = load.notifications * load.peak
    today = max(1, math.ceil(at_peak / 5_000), math.ceil(at_peak * load.event_size / 5e6))
    older = max(1, math.ceil(at_peak / 100))
    subscriptions = {"500 subscriptions a topic, today": math.ceil(load.subscribers / 500)}
    return [
        Need(
            "Event Grid topics",
            max(today, older, *subscriptions.values()),
            "",
            f"{at_peak:g} events/s to {load.subscribers} subscriptions",
            {
                "5,000/s or 5 MB/s a topic, today's document": today,
                "100/s a topic, older plans": older,
                **subscriptions,
            },
        )
    ]


def _limits(load: Load, needs: Mapping[str, Need], table: int, *, premium: bool) -> list[Limit]:
    """Each as a multiple of the planned peak: what is below 1 is passed already."""
    events = load.peak_rate * load.events
    stream_units = max(events / 1_000, events * load.event_size / 1e6, events * load.groups / 4_096, 1e-9)
    limits = [
        Limit("250 cores of a subscription and region", 250 / needs["cores"].value, "split into stamps"),
        Limit("40 throughput units of Event Hubs Standard", 40 / stream_units, "Premium or Dedicated"),
        Limit("32 partitions of an event hub on Standard", 32 / needs["partitions"].value, "100 on Premium"),
        Limit(
            "4,000 vault reads in 10 seconds",
            4_000 / max(1, needs["vault reads in 10 s"].value),
            "a longer SLUICE_SECRET_TTL_SECONDS",
        ),
        Limit(
            "250 storage accounts of a subscription and region",
            250 * 20_000 * USED / max(1e-9, load.peak_rate * table),
            "split into stamps",
        ),
    ]
    if premium:
        by_size, by_rate = 16 * 4 * USED / _megabytes(load), 16 * 1_000 / load.peak_rate
        limits.append(Limit("16 messaging units of a namespace", min(by_size, by_rate), "a second namespace"))
    else:
        limits.append(Limit("1,000 credits a second of Service Bus Standard", 500 / load.peak_rate, "Premium"))
    if "Event Grid topics" in needs:
        limits.append(Limit("100 Event Grid topics of a region", 100 / needs["Event Grid topics"].value, "ask support"))
    return limits


def _monthly(load: Load, counted: Mapping[str, int]) -> dict[str, float]:
    """Operations of 30 days at the average rate, without retries."""
    return {name: load.rate * _MONTH * count for name, count in counted.items()}


def _notes(load: Load, needs: Mapping[str, Need], *, premium: bool) -> tuple[str, ...]:
    notes = [] if premium else ["Service Bus Standard has no private endpoints: `isolated` needs Premium"]
    if load.retries > load.retry_budget:
        notes.append("more retries are planned than the budget lets through: they wait, and messages with them")
    if load.retention > 90 * 86_400:
        notes.append("Event Hubs keeps events 7 days on Standard and 90 on Premium: what is older is in the lake")
    elif load.retention > 7 * 86_400:
        notes.append("Event Hubs keeps events 7 days on Standard: longer needs Premium, or the lake")
    if needs["pool size"].others["connections of the database ÷ instances"] < 1:
        notes.append("there are more instances than database connections: put a pooler between them")
    return tuple(notes)
