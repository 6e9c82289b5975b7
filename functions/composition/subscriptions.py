"""Subscriptions: webhooks to others, from the event log through a queue of their own."""

import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from functions.batches import message_function
from functions.dead_letters import drain_dead_letters
from functions.subscriptions import Subscriptions
from functions.triggers import AppName
from shared.environment import WrongSettings
from shared.jobs import Job, JobRun, parse_schedule
from shared.messages import Delivery as Message
from shared.partners import Certificates, StateRow
from shared.resilience import Limit, SharedPace
from shared.sending import CoalescingSender
from shared.streams import StreamEvent
from shared.subscriptions import (
    BrokerQueue,
    Credentials,
    Deliverer,
    Deliveries,
    DeliveryReceiver,
    Endpoints,
    FanOut,
    HttpSender,
    Payloads,
    Sender,
    SubscriptionStore,
    Target,
    public_events,
    resolved,
    wake_overdue,
)
from shared.subscriptions.settings import SubscriptionSettings
from shared.synthetic import VIEW
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .dead_letters import DEAD_LETTER_BODIES, DEAD_LETTERS, DRAIN_SECONDS, LAST_SECONDS, dead_letter_store
from .declaring import ROUTES, Access, Need, Queue, Table, Vault
from .encryption import KEY_NEEDS, SUBJECT_KEYS, fields
from .platform import platform
from .secrets import secret_cache
from .sending import EVENTS
from .state import STATE, state_store
from .streams import stream_consumer

__all__ = ["capability", "deliverer", "deliveries", "http_sender", "resolver", "subscription_store", "wake_queue"]

SUBSCRIPTIONS = Table(name="subscriptions")
DELIVERIES = Table(name="webhookdeliveries")
QUEUE = Queue(name="%SLUICE_WEBHOOK_QUEUE%", deliveries=30)
GROUP = "%SLUICE_WEBHOOK_GROUP%"
_DELIVER, _DRAIN, _SWEEP = "deliver_webhook", "drain-webhooks", "sweep-webhooks"
_DRAIN_SCHEDULE, _SWEEP_SCHEDULE = "1m", "0 37 3 * * *"


def subscription_store(composition: Composition) -> SubscriptionStore:
    """Who wants which events."""
    table = composition.get(platform).table(SUBSCRIPTIONS.name)
    return composition.closing(SubscriptionStore(table, composition.get(fields), clock=time.monotonic))


def deliveries(composition: Composition) -> Deliveries:
    """What became of each event."""
    return composition.closing(Deliveries(composition.get(platform).table(DELIVERIES.name), now=composition.now))


def wake_queue(composition: Composition) -> BrokerQueue:
    """The queue of what is due."""
    settings, clients = composition.settings, composition.get(platform)
    name = settings.webhook_queue
    sender = CoalescingSender(lambda: clients.sender(name), timeout=settings.send_timeout_seconds)
    return composition.closing(BrokerQueue(sender))


def payloads(composition: Composition) -> Payloads:
    """What receivers get of an event."""
    settings = composition.settings
    return Payloads(
        composition.registry,
        composition.get(fields),
        largest=settings.webhook_payload_bytes,
        base_url=settings.public_url,
        hidden={VIEW},
    )


def http_sender(composition: Composition) -> Sender:
    """The way to receivers."""
    settings = composition.settings
    return composition.closing(HttpSender(settings.webhook_addresses(), seconds=settings.webhook_timeout_seconds))


def resolver(_: Composition) -> Callable[[Target], Awaitable[list[str]]]:
    """Says the addresses of a host."""
    return resolved


def limit_of(rate: float) -> Limit:
    """A receiver's rate in POSTs a second: one of 1.5 is one POST in 0.667 s."""
    calls = max(1, int(rate))
    return Limit(calls=calls, per=calls / rate)


def deliverer(composition: Composition) -> Deliverer:
    """Sends what is due."""
    settings = composition.settings

    def pace(subscription: str, rate: float) -> SharedPace:
        row = StateRow(composition.get(state_store), f"webhook:{subscription}")
        return SharedPace(limit_of(rate), row, now=composition.now, random=random.random)

    return Deliverer(
        composition.get(subscription_store),
        composition.get(deliveries),
        composition.get(wake_queue),
        composition.get(payloads),
        composition.get(http_sender),
        Endpoints(pace, clock=time.monotonic),
        composition.get(credentials),
        now=composition.now,
        clock=time.monotonic,
        random=random.random,
        turn_seconds=settings.webhook_timeout_seconds + 15,
    )


def credentials(composition: Composition) -> Credentials:
    """How the app shows receivers who it is."""
    name = composition.settings.webhook_certificate

    async def certificate() -> ssl.SSLContext:
        return await certificates.get(name)

    if not name or composition.settings.key_vault is None:
        return Credentials(composition.get(http_sender), None, clock=time.monotonic)
    certificates = Certificates(composition.get(secret_cache))
    return Credentials(composition.get(http_sender), certificate, clock=time.monotonic)


def fan_out(composition: Composition) -> FanOut:
    """From the event log to deliveries."""
    return FanOut(
        composition.get(subscription_store),
        composition.get(deliveries),
        composition.get(wake_queue),
        composition.get(payloads),
        now=composition.now,
    )


def receiver(composition: Composition) -> DeliveryReceiver:
    """Takes the queue's messages."""
    return DeliveryReceiver(
        lambda: composition.get(deliverer),
        lambda: composition.get(wake_queue),
        lambda: composition.get(dead_letter_store),
        now=composition.now,
    )


def capability(composition: Composition) -> Capability:
    """A consumer of the event log, the function that sends, and the routes.

    Raises
    ------
    WrongSettings
        This machine may be called, though the app isn't on somebody's own.
    """
    settings = composition.settings
    if settings.webhook_allow_local and settings.service_bus.connection_string is None:
        raise WrongSettings(
            "Wrong settings: SLUICE_WEBHOOK_ALLOW_LOCAL is for the local stack: in Azure it would open the instance "
            "itself to subscribers"
        )
    endpoints = Subscriptions(
        lambda: composition.get(subscription_store),
        lambda: composition.get(deliveries),
        lambda: composition.get(wake_queue),
        lambda: composition.get(payloads),
        public_events(composition.registry, {VIEW}),
        settings.webhook_addresses(),
        composition.get(resolver),
        overlap=timedelta(seconds=settings.webhook_secret_overlap_seconds),
        source=settings.event_source,
        public_path=settings.public_path,
        has_certificate=bool(settings.webhook_certificate),
        now=composition.now,
    )

    async def spread(events: Sequence[StreamEvent]) -> None:
        await composition.get(fan_out).apply(events)

    async def take(message: Message) -> None:
        await composition.get(receiver).take(message)

    async def drain(run: JobRun) -> bool:
        found = partial(composition.get(platform).dead_letter_receiver, settings.webhook_queue)
        return not await drain_dead_letters(
            {settings.webhook_queue: (found, composition.get(receiver).drain)},
            time_left=lambda: run.time_left() > LAST_SECONDS,
        )

    async def sweep(run: JobRun) -> bool:
        retention = timedelta(days=settings.webhook_retention_days)
        done = await composition.get(deliveries).sweep(retention, time_left=run.time_left)
        if done:
            await wake_overdue(
                composition.get(subscription_store),
                composition.get(deliveries),
                composition.get(wake_queue),
                now=composition.now(),
            )
        return not done

    spreading = stream_consumer(composition, "webhooks", spread, hub=EVENTS, group=GROUP)
    sends = [*spreading.names, _DELIVER]
    return Capability(
        name="subscriptions",
        functions=[
            spreading.function,
            message_function(_DELIVER, take, queue=QUEUE.name, app=AppName.STREAMS),
        ],
        jobs=[
            spreading.job,
            Job(
                name=_DRAIN,
                app=AppName.STREAMS,
                schedule=parse_schedule(_DRAIN_SCHEDULE),
                call=drain,
                seconds=DRAIN_SECONDS,
            ),
            Job(name=_SWEEP, app=AppName.STREAMS, schedule=parse_schedule(_SWEEP_SCHEDULE), call=sweep),
        ],
        probes={"webhooks": spreading.lag},
        routes=endpoints.routes(),
        metrics=[Metrics.webhook_deliveries, Metrics.webhook_duration, Metrics.webhook_disabled],
        resources=[SUBSCRIPTIONS, DELIVERIES, QUEUE],
        drained=[QUEUE.name],
        needs=[
            *spreading.needs,
            Need(
                access=Access.READ, to=SUBSCRIPTIONS, why="Knows who wants which events.", by=[*spreading.names, _SWEEP]
            ),
            Need(
                access=Access.WRITE,
                to=SUBSCRIPTIONS,
                why="Reads where webhooks go, disables receivers that are gone.",
                by=[_DELIVER],
            ),
            Need(access=Access.WRITE, to=SUBSCRIPTIONS, why="Keeps what subscribers ask for.", by=[ROUTES]),
            Need(
                access=Access.WRITE,
                to=DELIVERIES,
                why="Keeps deliveries and what came of them, sweeps old ones, and finds those that are overdue.",
                by=[*sends, _SWEEP, ROUTES],
            ),
            Need(
                access=Access.SEND,
                to=QUEUE,
                why="Sends what is due, now or later.",
                by=[*sends, _DRAIN, _SWEEP, ROUTES],
            ),
            Need(access=Access.RECEIVE, to=QUEUE, why="Takes what the broker gave up.", by=[_DRAIN]),
            Need(access=Access.WRITE, to=STATE, why="Shares the rates of receivers.", by=[_DELIVER]),
            Need(
                access=Access.WRITE,
                to=DEAD_LETTERS,
                why="Records messages that nobody can read.",
                by=[_DRAIN, _DELIVER],
            ),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps their bodies.", by=[_DRAIN, _DELIVER]),
            Need(
                access=Access.READ,
                to=SUBJECT_KEYS,
                why="Decrypts protected fields for subscribers who may see them.",
                when="SLUICE_DATA_KEY",
                by=[_DELIVER, ROUTES],
            ),
            Need(
                access=Access.SECRETS,
                to=Vault(),
                why="Reads the certificate that receivers ask for.",
                when="SLUICE_WEBHOOK_CERTIFICATE",
                by=[_DELIVER],
            ),
            *KEY_NEEDS,
        ],
        settings=SubscriptionSettings.variables(),
    )
