"""Metrics: what the app counts and measures, every name and unit in one place.

Names and units follow OpenTelemetry's conventions; ours begin with `sluice.`. Attributes have few values each: never a
key, an id or anything that a message holds. What can grow all the same is bounded by the instrument.
"""

from .instruments import FEW, SIZES, Counter, Gauge, Histogram, Instrument

__all__ = ["Metrics", "business", "enable", "every", "instruments"]


class Metrics:
    """Every instrument of the app."""

    messages_received = Counter(
        "sluice.messages.received",
        unit="{message}",
        description="Deliveries that came in, by lane",
    )
    messages_active = Gauge(
        "sluice.messages.active",
        unit="{message}",
        description="Deliveries in this instance that have no outcome yet, by lane",
    )
    messages_processed = Counter(
        "sluice.messages.processed",
        unit="{message}",
        description="Outcomes, by lane, integration and outcome: done, duplicate, retry, deferred, parked or dead",
        prometheus="messages_processed_total",
    )
    messages_failed = Counter(
        "sluice.messages.failed",
        unit="{message}",
        description="Attempts that failed, by lane and category; a retry counts as well as a dead letter",
        prometheus="message_processing_failures_total",
    )
    messages_time = Histogram(
        "sluice.messages.time",
        unit="s",
        description="From a message's acceptance to its end, waits and retries included, by lane and outcome",
        prometheus="message_processing_duration_seconds",
    )
    messages_took = Counter(
        "sluice.messages.took",
        unit="{message}",
        description="Messages that ended, by lane and the seconds that their whole time didn't exceed: for percentiles "
        "where a histogram's buckets aren't kept, as in Azure Monitor",
    )
    messages_objective = Counter(
        "sluice.messages.objective",
        unit="{message}",
        description="Messages that ended, by lane and whether they were done within the lane's time: met, yes or no",
    )
    messages_waiting = Gauge(
        "sluice.messages.waiting",
        unit="s",
        description="For how long the oldest message of a lane has waited, by lane",
    )
    messages_age = Histogram(
        "sluice.messages.age",
        unit="s",
        description="From a message's acceptance to the beginning of its first attempt, by lane",
    )
    messages_attempts = Histogram(
        "sluice.messages.attempts",
        unit="{attempt}",
        description="Attempts that a message took to its end, by lane",
        bounds=FEW,
    )
    handler_duration = Histogram(
        "messaging.process.duration",
        unit="s",
        description="How long a handler takes, by integration, event type and outcome",
    )
    batches_failed = Counter(
        "sluice.batches.failed",
        unit="{batch}",
        description="Batches that went back to their queue, by lane",
    )
    dead_letters = Counter(
        "sluice.deadletters.stored",
        unit="{message}",
        description="Dead letters that were stored, by category",
    )
    claim_size = Histogram(
        "sluice.claims.size",
        unit="By",
        description="Sizes of payloads that were kept beside their messages",
        bounds=SIZES,
    )
    send_batch = Histogram(
        "sluice.send.batch",
        unit="{message}",
        description="Messages that shared a send",
        bounds=FEW,
    )
    send_duration = Histogram(
        "messaging.client.operation.duration",
        unit="s",
        description="How long the broker takes to confirm a send",
    )
    storage_duration = Histogram(
        "sluice.storage.duration",
        unit="s",
        description="How long a request to Table storage takes, retries included, by operation and table",
    )
    connection_wait = Histogram(
        "sluice.storage.connection",
        unit="s",
        description="How long a request to Table storage waits for a connection, by connection: new or reused",
    )
    open_connections = Gauge(
        "http.client.open_connections",
        unit="{connection}",
        description="HTTP connections that are open, by host and state: active or idle",
    )
    outbox_lag = Histogram(
        "sluice.outbox.lag",
        unit="s",
        description="Age of what the sweep of the outbox found left behind",
    )
    http_duration = Histogram(
        "http.server.request.duration",
        unit="s",
        description="How long an answer takes, by method, route and status",
    )
    requests_limited = Counter(
        "sluice.requests.limited",
        unit="{request}",
        description="Requests that a limit refused, by plan and limit: requests, a route, day or month",
    )
    limits_failures = Counter(
        "sluice.limits.failures",
        unit="{lease}",
        description="Leases that the limits' store refused or didn't answer in time; limits are divided meanwhile",
    )
    requests_shed = Counter(
        "sluice.requests.shed",
        unit="{request}",
        description="Requests that were refused under overload, by importance: read, write or high",
    )
    requests_limit = Gauge(
        "sluice.requests.limit",
        unit="{request}",
        description="Requests that may be under way in this instance, as learned from overload",
    )
    stream_events = Counter(
        "sluice.stream.events",
        unit="{event}",
        description="Events read from a hub, by consumer and outcome: consumed, duplicate, ignored, poison or expired",
    )
    stream_delay = Histogram(
        "sluice.stream.delay",
        unit="s",
        description="From the time of an event to its reading, by consumer",
    )
    stream_lag = Gauge(
        "sluice.stream.lag",
        unit="{event}",
        description="Events of the hub that a consumer hasn't dealt with yet, by consumer",
    )
    capture_lag = Gauge(
        "sluice.capture.lag",
        unit="By",
        description="Log of a database that isn't captured yet, by source",
    )
    unknown_fields = Counter(
        "sluice.messages.unknown",
        unit="{field}",
        description="Fields that a message or event holds beyond its contract, tolerated, by event type and version",
    )
    vault_reads = Counter(
        "sluice.vault.reads",
        unit="{read}",
        description="Reads of the key vault by the cache of secrets, by outcome: read, or the name of its error",
    )
    vault_duration = Histogram(
        "sluice.vault.duration",
        unit="s",
        description="How long a read of the key vault takes, its wait for the instance's share included",
    )
    secrets_cached = Gauge(
        "sluice.secrets.cached",
        unit="{secret}",
        description="Secrets in memory, each version that was asked for by itself",
    )
    partner_calls = Counter(
        "sluice.partner.calls",
        unit="{call}",
        description="Tries of partner calls, by partner, endpoint and outcome such as done or throttled",
    )
    partner_duration = Histogram(
        "sluice.partner.duration",
        unit="s",
        description="How long a try of a partner call takes, by partner and endpoint",
    )
    partner_open = Gauge(
        "sluice.partner.open",
        unit="{breaker}",
        description="Whether this instance has opened the breaker of a partner's endpoints: 1 open, 0 closed again",
    )
    webhook_deliveries = Counter(
        "sluice.webhook.deliveries",
        unit="{delivery}",
        description="Deliveries of webhooks that began, and attempts by subscription and outcome: delivered, failed, "
        "throttled or gone",
    )
    webhook_duration = Histogram(
        "sluice.webhook.duration",
        unit="s",
        description="How long a receiver of webhooks takes to answer, by subscription",
    )
    webhook_disabled = Counter(
        "sluice.webhook.disabled",
        unit="{subscription}",
        description="Subscriptions that were disabled since their receiver is gone, or has failed for five days",
    )
    keys_cached = Gauge(
        "sluice.keys.cached",
        unit="{key}",
        description="Keys in memory, by kind: data or subject",
    )
    handlers_active = Gauge(
        "sluice.handlers.active",
        unit="{handler}",
        description="Handlers that run, of the places that the instance has for them",
    )
    handlers_limit = Gauge(
        "sluice.handlers.limit",
        unit="{handler}",
        description="Places for handlers",
    )
    synthetic_runs = Counter(
        "sluice.synthetic.runs",
        unit="{run}",
        description="Marked messages that were sent the whole way, by lane and outcome: done or lost",
    )
    synthetic_duration = Histogram(
        "sluice.synthetic.duration",
        unit="s",
        description="From the sending of a marked message to its row in the read model, by lane",
    )
    health = Gauge(
        "sluice.health.status",
        unit="1",
        description="How a component is, by component: 1 healthy, 0.5 degraded, 0 unhealthy",
    )
    loop_lag = Histogram(
        "sluice.loop.lag",
        unit="s",
        description="How much later than asked for the event loop wakes up",
    )
    gc_pause = Histogram(
        "sluice.gc.pause",
        unit="s",
        description="How long a garbage collection stops everything, by generation",
    )
    memory = Gauge(
        "process.memory.usage",
        unit="By",
        description="Memory of the process in RAM",
    )
    cpu = Counter(
        "process.cpu.time",
        unit="s",
        description="Processor time that the process has used",
    )


_BUSINESS: dict[str, Counter] = {}


def instruments() -> list[Instrument]:
    """All of the app's own."""
    return [one for one in vars(Metrics).values() if isinstance(one, Instrument)]


def business(name: str, *, unit: str, description: str) -> Counter:
    """A counter of an integration: the same for the same name.

    Raises
    ------
    ValueError
        The app itself has a metric of that name, or another integration has described it otherwise.
    """
    if name in {one.name for one in instruments()}:
        raise ValueError(f"the metric {name} is the app's own")
    made = _BUSINESS.setdefault(name, Counter(name, unit=unit, description=description))
    if (made.unit, made.description) != (unit, description):
        raise ValueError(f"the metric {name} is described twice")
    if Metrics.messages_received.is_on and not made.is_on:
        made.connect(True)
    return made


def every() -> list[Instrument]:
    """The app's own instruments and the integrations'."""
    return [*instruments(), *_BUSINESS.values()]


def enable(on: bool = True) -> None:
    """Have all instruments keep values, or none."""
    for instrument in every():
        instrument.connect(on)
