"""Processing: what runs the handlers of every lane, the ordered one included."""

import random
import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from functions.batches import lane_function
from functions.triggers import AppName
from shared.health import Check, Degraded
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Lane
from shared.ordered import OrderedKeys, ParkingDrain
from shared.processing import BatchProcessor, Limits, Runner, Settler
from shared.processing.settings import ProcessingSettings
from shared.resilience import LaneTurns, RetryBudget, RetryPlan, Share, WeightedBulkhead
from shared.sending import Backlog
from shared.telemetry import Metrics

from .capability import Capability
from .claims import CLAIMS, decoder
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, dead_letter_store, given_up_earlier, suspects
from .declaring import Access, Need, Vault
from .encryption import KEY_NEEDS, SUBJECT_KEYS, fields
from .partners import partners, work_seconds
from .pausing import pause_gate, pause_watch
from .platform import platform
from .secrets import secret_cache
from .sending import EVENTS, LANES, lane_queues, lane_senders, outbox, to_lanes
from .state import STATE, VALUES, large_values, parking, state_store

__all__ = ["capability", "ordered_keys", "parking_drain", "processor", "settler"]

LANE_SHARES = {
    Lane.HIGH: Share(weight=70, slice=64),
    Lane.NORMAL: Share(weight=20, slice=16),
    Lane.ORDERED: Share(weight=15, slice=16),
    Lane.LOW: Share(weight=12, slice=2),
}
"""Weights of the lanes at the handlers' places, so that low keeps a tenth while every lane has work, and the pieces in
which a lane's batches go while a heavier one is at work: a high message waits for two low ones at most."""

LONGEST_WAITS = {Lane.HIGH: 60, Lane.NORMAL: 300, Lane.LOW: 1_800}
"""Seconds for which a message may wait on its lane. One with sessions can't be looked at without taking a session."""
_BACKLOG = "lanes"


def settler(composition: Composition) -> Settler:
    """Says what becomes of a message that wasn't done."""
    settings = composition.settings
    share = settings.retry_budget_share
    return Settler(
        store=composition.get(state_store),
        lanes=composition.get(lane_senders),
        dead_letters=composition.get(dead_letter_store),
        budget=cache(lambda _: RetryBudget(share=share, reserve=100, trickle=1, clock=time.monotonic)),
        spent_delay=settings.retry_cap_seconds,
        now=composition.now,
        suspects=composition.get(suspects),
    )


def ordered_keys(composition: Composition) -> OrderedKeys:
    """The order of a key's messages, and what happens when one of them fails."""
    return OrderedKeys(composition.get(parking), composition.get(settler), now=composition.now)


def processor(composition: Composition) -> BatchProcessor:
    """Processes the batches of all lanes."""
    settings = composition.settings
    needed = work_seconds(composition.registry)
    limits = Limits(
        handler_timeout=max(settings.handler_timeout_seconds, needed),
        batch_budget=max(settings.batch_budget_seconds, needed),
    )
    store = composition.get(state_store)
    gate = WeightedBulkhead(settings.handler_concurrency, {lane: share.weight for lane, share in LANE_SHARES.items()})
    Metrics.handlers_active.watch(lambda: [(gate.active, {})])
    Metrics.handlers_limit.watch(lambda: [(gate.places, {})])
    runner = Runner(
        registry=composition.registry,
        load=store.find,
        buckets=settings.state_buckets,
        gate=gate,
        plan=RetryPlan(
            max_attempts=settings.retry_max_attempts,
            base=settings.retry_base_seconds,
            cap=settings.retry_cap_seconds,
        ),
        limits=limits,
        source=settings.event_source,
        values=composition.get(large_values),
        fields=composition.get(fields),
        secrets=composition.get(secret_cache) if settings.key_vault is not None else None,
        partners=composition.get(partners),
        pauses=composition.get(pause_watch),
        now=composition.now,
        random=random.random,
    )
    return BatchProcessor(
        decoder=composition.get(decoder),
        store=store,
        runner=runner,
        outbox=composition.get(outbox),
        settler=composition.get(settler),
        limits=limits,
        ordered=composition.get(ordered_keys),
        admission=composition.get(pause_gate),
        turns=LaneTurns(LANE_SHARES),
        suspects=composition.get(suspects),
        earlier=composition.get(given_up_earlier),
    )


def parking_drain(composition: Composition) -> ParkingDrain:
    """Processes what waits on the ordered lane."""
    return ParkingDrain(
        composition.get(parking),
        composition.get(ordered_keys),
        composition.get(processor).take_turn,
        pauses=composition.get(pause_watch),
        now=composition.now,
    )


def backlog(composition: Composition) -> Backlog:
    """How long messages wait on the lanes that can be looked at."""
    clients, queues = composition.get(platform), lane_queues(composition)
    return composition.closing(
        Backlog({lane: partial(clients.receiver, queues[lane]) for lane in LONGEST_WAITS}, now=composition.now)
    )


def capability(composition: Composition) -> Capability:
    """A batch function for each lane, and the drain of what is parked on the ordered one."""

    async def drain_parked(_: JobRun) -> None:
        await composition.get(parking_drain).drain()

    async def waiting() -> Mapping[str, Any]:
        ages = await composition.get(backlog).ages()
        for lane, age in ages.items():
            Metrics.messages_waiting.set(age, lane=lane.value)
        return _judged(ages)

    apps = {Lane.HIGH: AppName.HIGH, Lane.NORMAL: AppName.BULK, Lane.LOW: AppName.BULK, Lane.ORDERED: AppName.ORDERED}
    schedule = parse_schedule(composition.settings.parking_schedule)
    return Capability(
        name="processing",
        functions=[
            *(
                lane_function(lane, lambda: composition.get(processor), queue=LANES[lane].name, app=app)
                for lane, app in apps.items()
            ),
        ],
        jobs=[Job(name="drain-parked", app=AppName.ORDERED, schedule=schedule, call=drain_parked)],
        probes={
            _BACKLOG: Check(ask=waiting, app=AppName.STREAMS, interval=10, timeout=4, threshold=1, weight=0),
        },
        needs=[
            *(
                Need(access=Access.RECEIVE, to=LANES[lane], why="Looks how long its messages wait.", by=[_BACKLOG])
                for lane in LONGEST_WAITS
            ),
            *to_lanes("A handler may send a command to any lane, and retries wait."),
            Need(
                access=Access.RECEIVE,
                to=LANES[Lane.ORDERED],
                why="Looks for what the broker gave up of a key before its later messages.",
                by=["lane_ordered"],
            ),
            Need(access=Access.SEND, to=EVENTS, why="Publishes the events of its messages."),
            Need(access=Access.WRITE, to=STATE, why="Commits inbox record, state and outbox rows."),
            Need(access=Access.WRITE, to=CLAIMS, why="Reads large payloads, and keeps those of commands it sends."),
            Need(access=Access.WRITE, to=VALUES, why="Keeps state that is too large for a row."),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records what could not be processed."),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps the bodies of what could not be processed."),
            Need(
                access=Access.WRITE,
                to=SUBJECT_KEYS,
                why="Finds, and makes, the keys that protected fields of a person are encrypted under.",
                when="SLUICE_DATA_KEY",
            ),
            Need(
                access=Access.SECRETS,
                to=Vault(),
                why="Reads the secrets that its settings name and its handlers ask for.",
                when="KeyVault__vaultUri",
            ),
            *KEY_NEEDS,
        ],
        metrics=[
            Metrics.messages_received,
            Metrics.messages_active,
            Metrics.messages_processed,
            Metrics.messages_failed,
            Metrics.messages_time,
            Metrics.messages_took,
            Metrics.messages_objective,
            Metrics.messages_waiting,
            Metrics.messages_age,
            Metrics.messages_attempts,
            Metrics.handler_duration,
            Metrics.handlers_active,
            Metrics.handlers_limit,
            Metrics.batches_failed,
            Metrics.unknown_fields,
        ],
        settings=ProcessingSettings.variables(),
    )


def _judged(ages: Mapping[Lane, float]) -> Mapping[str, Any]:
    """Ages as figures, degraded where a message waits for too long."""
    figures = {str(lane): {"oldest": f"{age:.0f}s", "longest": f"{LONGEST_WAITS[lane]}s"} for lane, age in ages.items()}
    if late := [str(lane) for lane, age in ages.items() if age > LONGEST_WAITS[lane]]:
        raise Degraded(f"Messages wait too long on {', '.join(late)}.", figures)
    return figures
