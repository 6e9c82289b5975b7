"""Locks, batches and time limits fit into each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from local.doctor.facts import App, Facts, Place
from local.doctor.rules.rule import Problem, Rule, rule

__all__ = ["RULES"]

GRACE = "shared.processing.pipeline:GRACE_SECONDS"
_SETTLE_SECONDS = 2.0  # to complete a batch of messages, retries of the SDK included
_LONGEST_LOCK = timedelta(minutes=5)  # Service Bus quotas: lock duration
_LARGEST_BATCH = 100  # above it the worker's decoding grows quadratically: docs/functions-host.md
_OUTAGE_SECONDS = 3_600.0
_LONGEST_SESSION_WAIT = timedelta(seconds=10)


def _batch_seconds(facts: Facts, app: App) -> float:
    """The longest that a lane's batch takes from its first instruction to its last."""
    return facts.number(app, "batch_budget_seconds") + facts.constants[GRACE]


def _host(facts: Facts, key: str) -> Place:
    return facts.place("host.json", f'"{key}"')


@rule(
    "lock-covers-batch",
    checks="a lane's lock lasts longer than the batch budget, its grace and the time to settle",
    consequence="the lock ends while handlers run: another instance does the whole batch again, and completing fails",
    remedy="raise LockDuration, or lower SLUICE_BATCH_BUDGET_SECONDS",
)
def lock_covers_batch(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        needed = _batch_seconds(facts, app) + _SETTLE_SECONDS
        for trigger, queue in facts.lane_queues(deployment, app):
            if queue.lock.total_seconds() < needed:
                yield Problem(
                    deployment.name,
                    queue.place,
                    f"{queue.name} locks for {queue.lock.total_seconds():g} s, "
                    f"{trigger.function} may take {needed:g} s",
                )


@rule(
    "lock-within-limit",
    checks="no lock is longer than the five minutes that Service Bus allows",
    consequence="the deployment of the queue fails",
    remedy="lower LockDuration to PT5M or less",
)
def lock_within_limit(facts: Facts) -> Iterator[Problem]:
    for deployment in facts.deployments:
        for queue in deployment.queues.values():
            if not timedelta(0) < queue.lock <= _LONGEST_LOCK:
                yield Problem(deployment.name, queue.place, f"{queue.name} locks for {queue.lock}")


@rule(
    "batch-size-bounded",
    checks=f"maxMessageBatchSize is at most {_LARGEST_BATCH}",
    consequence="decoding a batch grows quadratically with its size and blocks the instance: 1.25 s at 1,000 messages",
    remedy="set extensions.serviceBus.maxMessageBatchSize in host.json to 100 or less",
)
def batch_size_bounded(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        size = app.host.service_bus.max_message_batch_size
        if size > _LARGEST_BATCH:
            yield Problem(deployment.at(app), _host(facts, "maxMessageBatchSize"), f"takes {size} at once")


@rule(
    "prefetch-within-lock",
    checks="prefetched messages are reached before their lock ends",
    consequence="messages wait in the instance while their lock runs out: they are done twice and burn deliveries",
    remedy="set extensions.serviceBus.prefetchCount to 0, or raise LockDuration for the batches that wait",
)
def prefetch_within_lock(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        options = app.host.service_bus
        waiting = -(-options.prefetch_count // options.max_message_batch_size)
        needed = (waiting + 1) * _batch_seconds(facts, app) if waiting else 0.0
        late = [queue for _, queue in facts.lane_queues(deployment, app) if queue.lock.total_seconds() < needed]
        if late:
            yield Problem(
                deployment.at(app),
                _host(facts, "prefetchCount"),
                f"prefetches {options.prefetch_count}, which takes up to {needed:g} s, "
                f"{late[0].name} locks for {late[0].lock.total_seconds():g} s",
            )


@rule(
    "batch-does-not-wait",
    checks="a batch isn't held back while the locks of its first messages run",
    consequence="the host waits for more up to maxBatchWaitTime: what came first has that much less of its lock",
    remedy="set extensions.serviceBus.minMessageBatchSize to 1",
)
def batch_does_not_wait(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        options = app.host.service_bus
        if options.min_message_batch_size > 1:
            yield Problem(
                deployment.at(app),
                _host(facts, "minMessageBatchSize"),
                f"waits up to {options.max_batch_wait_time} for {options.min_message_batch_size} messages",
            )


@rule(
    "host-completes",
    checks="autoCompleteMessages is true",
    consequence="nothing completes a batch: every message comes again until its deliveries are used up",
    remedy="set extensions.serviceBus.autoCompleteMessages to true in host.json",
)
def host_completes(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        if not app.host.service_bus.auto_complete_messages:
            yield Problem(deployment.at(app), _host(facts, "autoCompleteMessages"), "doesn't complete")


@rule(
    "session-let-go",
    severity="warning",
    checks=f"an empty session is let go within {_LONGEST_SESSION_WAIT.seconds} s",
    consequence="each key of the ordered lane keeps its place on an instance that long after its last message",
    remedy="set extensions.serviceBus.sessionIdleTimeout in host.json to a few seconds",
)
def session_let_go(facts: Facts) -> Iterator[Problem]:
    if not any(one.binding.get("isSessionsEnabled") for one in facts.queue_triggers):
        return
    for deployment, app in facts.everywhere:
        idle = app.host.service_bus.session_idle_timeout
        if idle > _LONGEST_SESSION_WAIT:
            yield Problem(deployment.at(app), _host(facts, "sessionIdleTimeout"), f"waits {idle}")


@rule(
    "function-timeout-covers-batch",
    checks="functionTimeout is set and above the longest batch",
    consequence="the host kills the worker in the middle of a batch and with it every other call on the instance; "
    "without a limit a call that hangs holds its place for ever",
    remedy="set functionTimeout in host.json above SLUICE_BATCH_BUDGET_SECONDS and its grace, for example 00:05:00",
)
def function_timeout_covers_batch(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        limit, needed = app.host.function_timeout, _batch_seconds(facts, app)
        if limit is None or limit.total_seconds() <= needed:
            yield Problem(
                deployment.at(app),
                _host(facts, "functionTimeout"),
                f"allows {limit}, a batch {needed:g} s",
            )


@rule(
    "handler-within-batch",
    checks="a handler's time is within the batch budget",
    consequence="the app refuses to start",
    remedy="keep SLUICE_HANDLER_TIMEOUT_SECONDS at or below SLUICE_BATCH_BUDGET_SECONDS",
)
def handler_within_batch(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        handler, batch = (facts.number(app, f"{name}_seconds") for name in ("handler_timeout", "batch_budget"))
        if handler > batch:
            yield Problem(deployment.at(app), app.place, f"gives a handler {handler:g} s, a batch {batch:g} s")


@rule(
    "retries-outlast-an-hour",
    severity="warning",
    checks="the retry plan lasts an hour at least, however its delays are drawn",
    consequence="an outage of a partner that is shorter than an hour leaves dead letters for somebody to replay",
    remedy="raise SLUICE_RETRY_MAX_ATTEMPTS or SLUICE_RETRY_CAP_SECONDS; give an event type its own plan to end sooner",
)
def retries_outlast_an_hour(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        attempts, base, cap = (
            facts.number(app, f"retry_{name}") for name in ("max_attempts", "base_seconds", "cap_seconds")
        )
        shortest = sum(min(cap, base * 2.0 ** min(number, 60)) / 2 for number in range(int(attempts) - 1))
        if shortest < _OUTAGE_SECONDS:
            yield Problem(deployment.at(app), app.place, f"gives up after {shortest:.0f} s")


@rule(
    "event-prefetch-covers-batch",
    severity="warning",
    checks="prefetchCount of Event Hubs is at least one batch",
    consequence="batches of events are never as large as allowed: read models lag behind under load",
    remedy="set extensions.eventHubs.prefetchCount to maxEventBatchSize or more",
)
def event_prefetch_covers_batch(facts: Facts) -> Iterator[Problem]:
    for deployment, app in facts.everywhere:
        options = app.host.event_hubs
        if options.prefetch_count < options.max_event_batch_size:
            yield Problem(
                deployment.at(app),
                _host(facts, "maxEventBatchSize"),
                f"prefetches {options.prefetch_count} for batches of {options.max_event_batch_size}",
            )


RULES: tuple[Rule, ...] = (
    lock_covers_batch,
    lock_within_limit,
    batch_size_bounded,
    prefetch_within_lock,
    batch_does_not_wait,
    host_completes,
    session_let_go,
    function_timeout_covers_batch,
    handler_within_batch,
    retries_outlast_an_hour,
    event_prefetch_covers_batch,
)
