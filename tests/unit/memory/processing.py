"""An instance of the pipeline, over whatever stands for the outside world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from shared.claim_check import ClaimStore
from shared.dead_letters import DeadLetterStore, Suspects
from shared.messages import Lane, Registry
from shared.ordered import OrderedKeys, Parking, ParkingDrain
from shared.outbox import Outbox
from shared.partners import Partners
from shared.pausing import PauseGate, PauseWatch
from shared.processing import BatchProcessor, Decoder, Limits, Recent, Runner, Settler
from shared.resilience import LaneTurns, RetryBudget, RetryPlan, Share, WeightedBulkhead
from shared.sending import EventPublisher, Lanes
from shared.state import StateStore
from shared.work import Secrets

__all__ = ["Instance", "Surroundings"]


@dataclass(kw_only=True)
class Surroundings:
    """What an instance is built on; tests put memory in the place of whatever they try.

    Attributes
    ----------
    lanes, publisher, dead_letters, claims:
        Whatever has the verbs of the real ones that are used.
    """

    registry: Registry
    store: StateStore
    lanes: Any
    publisher: Any
    dead_letters: Any
    now: Callable[[], datetime]
    claims: Any = None
    secrets: Secrets | None = None
    pauses: PauseWatch | None = None
    admission: PauseGate | None = None
    source: str = "/test"
    timeout: float = 5.0
    batch_budget: float = 5.0
    concurrency: int = 4
    plan: RetryPlan = field(default_factory=lambda: RetryPlan(max_attempts=50, base=1, cap=1))
    budget: RetryBudget | None = None
    spent_delay: float = 1.0
    jitter: float = 0.5
    settle_for: timedelta = timedelta(0)
    suspects: Suspects | None = None
    partners: Partners | None = None


class Instance:
    """The parts of one process; several may live on the same surroundings."""

    def __init__(self, around: Surroundings, *, recent: Recent | None = None, ordered: bool = False) -> None:
        store, lanes = around.store, cast("Lanes", around.lanes)
        limits = Limits(handler_timeout=around.timeout, batch_budget=around.batch_budget)
        budget = around.budget or RetryBudget(share=1, reserve=1_000, trickle=0, clock=lambda: 0.0)
        self._around = around
        self.outbox = Outbox(
            store, cast("EventPublisher", around.publisher), lanes, now=around.now, settle_for=around.settle_for
        )
        settler = Settler(
            store=store,
            lanes=lanes,
            dead_letters=cast("DeadLetterStore", around.dead_letters),
            budget=lambda _: budget,
            spent_delay=around.spent_delay,
            now=around.now,
            suspects=around.suspects,
        )
        self.parking = Parking(store, now=around.now)
        self.ordered = OrderedKeys(self.parking, settler, now=around.now)
        self.processor = BatchProcessor(
            turns=LaneTurns({lane: Share(weight=1, slice=64) for lane in Lane}),
            decoder=Decoder(around.registry, cast("ClaimStore", around.claims), buckets=store.buckets),
            store=store,
            runner=Runner(
                registry=around.registry,
                load=store.find,
                buckets=store.buckets,
                gate=WeightedBulkhead(around.concurrency, dict.fromkeys(Lane, 1.0)),
                plan=around.plan,
                limits=limits,
                source=around.source,
                secrets=around.secrets,
                partners=around.partners,
                pauses=around.pauses,
                now=around.now,
                random=lambda: around.jitter,
            ),
            outbox=self.outbox,
            settler=settler,
            limits=limits,
            ordered=self.ordered if ordered else None,
            admission=around.admission,
            recent=recent,
            suspects=around.suspects,
        )

    def drain(self) -> ParkingDrain:
        """What processes the messages that wait."""
        return ParkingDrain(self.parking, self.ordered, self.processor.take_turn, now=self._around.now)
