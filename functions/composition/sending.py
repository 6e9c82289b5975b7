"""Sending: commands to the lanes, events to the hub, and the outbox that hands over what was committed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from azure.servicebus.aio import ServiceBusSender

from functions.triggers import AppName
from shared.health import Check
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Lane
from shared.outbox import Outbox
from shared.sending import CoalescingSender, EventPublisher, Lanes
from shared.sending.settings import SendingSettings
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import Access, Hub, Need, Queue
from .encryption import fields, message_encryption
from .partners import lane_lock
from .platform import platform
from .state import STATE, state_store

__all__ = ["EVENTS", "LANES", "capability", "lane_queues", "lane_senders", "outbox", "publisher", "to_lanes"]

OUTBOX_SETTLE_SECONDS = 10
LANES = {
    Lane.HIGH: Queue(name="%SLUICE_LANE_HIGH%"),
    Lane.NORMAL: Queue(name="%SLUICE_LANE_NORMAL%"),
    Lane.LOW: Queue(name="%SLUICE_LANE_LOW%"),
    # The broker must not take a message out of a key's order while storage is away, for which a failed batch is kept to
    # the end of its lock: that is 23 minutes. A body that no binding takes fails at once, and mustn't do so for long.
    Lane.ORDERED: Queue(name="%SLUICE_LANE_ORDERED%", sessions=True, deliveries=60),
}
EVENTS = Hub(name="%SLUICE_EVENT_HUB%", groups=("%SLUICE_READ_MODEL_GROUP%",))


def to_lanes(why: str, *, by: Sequence[str] = ()) -> list[Need]:
    """The need of who sends commands to any lane."""
    return [Need(access=Access.SEND, to=queue, why=why, by=by) for queue in LANES.values()]


def lane_queues(composition: Composition) -> dict[Lane, str]:
    """The names of the lanes' queues."""
    settings = composition.settings
    return {
        Lane.HIGH: settings.lane_high,
        Lane.NORMAL: settings.lane_normal,
        Lane.LOW: settings.lane_low,
        Lane.ORDERED: settings.lane_ordered,
    }


def lane_senders(composition: Composition) -> Lanes:
    """The senders of all lanes, on one connection; each opens with its first message."""
    clients = composition.get(platform)

    def sender_of(queue: str) -> Callable[[], ServiceBusSender]:
        return lambda: clients.sender(queue)

    timeout = composition.settings.send_timeout_seconds
    queues = lane_queues(composition)
    senders = {lane: CoalescingSender(sender_of(name), timeout=timeout) for lane, name in queues.items()}
    return composition.closing(Lanes(senders, composition.get(message_encryption)))


def publisher(composition: Composition) -> EventPublisher:
    """Publishes events."""
    return composition.closing(EventPublisher(composition.get(platform).producer()))


def outbox(composition: Composition) -> Outbox:
    """Publishes what was committed, and what a crash left behind."""
    return composition.closing(
        Outbox(
            composition.get(state_store),
            composition.get(publisher),
            composition.get(lane_senders),
            now=composition.now,
            settle_for=timedelta(seconds=OUTBOX_SETTLE_SECONDS),
            fields=composition.get(fields),
        )
    )


def capability(composition: Composition) -> Capability:
    """Queues, hub, and the sweep of what a crash left behind."""

    async def sweep_outbox(_: JobRun) -> None:
        await composition.get(outbox).sweep()

    async def probe() -> None:
        await composition.get(publisher).probe()

    schedule = parse_schedule(composition.settings.outbox_sweep_schedule)
    check = Check(ask=probe, app=AppName.STREAMS, interval=10, timeout=4, threshold=1.5, weight=0)
    return Capability(
        name="sending",
        probes={"event-hubs": check},
        metrics=[Metrics.send_batch, Metrics.send_duration, Metrics.outbox_lag],
        jobs=[Job(name="sweep-outbox", app=AppName.STREAMS, schedule=schedule, call=sweep_outbox)],
        resources=[*(replace(one, lock=lane_lock(composition.registry)) for one in LANES.values()), EVENTS],
        needs=[
            *to_lanes("The sweep of the outbox sends commands that a crash left behind."),
            Need(access=Access.SEND, to=EVENTS, why="The sweep of the outbox publishes what a crash left behind."),
            Need(access=Access.WRITE, to=STATE, why="Sweeps the outbox."),
        ],
        settings=SendingSettings.variables(),
    )
