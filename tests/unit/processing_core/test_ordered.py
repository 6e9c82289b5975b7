"""On the ordered lane a key's effects come in the order of sending, whatever dies, repeats, fails or comes late."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.processing import pipeline

from .ordered_world import OrderedWorld
from .world import Count

KEYS = st.sampled_from(["a", "b"])
MOODS = st.sampled_from(["good", "good", "retry-once", "partial-once", "reject", "broken", "echo"])
NUMBER = st.integers(1, 6)


@pytest.fixture(autouse=True, scope="module")
def _no_waiting() -> Any:
    """A failed batch is held back for a while; time is not what is tried here."""
    patch = pytest.MonkeyPatch()

    async def at_once(*_: object) -> None:
        return None

    patch.setattr(pipeline, "_hold", at_once)
    yield
    patch.undo()


class InOrder(RuleBasedStateMachine):
    """Random interleavings against the order in which the messages were sent."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.world = OrderedWorld(seed)

    def do(self, *coroutines: Coroutine[Any, Any, Any]) -> None:
        async def together() -> None:
            await asyncio.gather(*coroutines)

        self.loop.run_until_complete(together())

    @rule(key=KEYS, moods=st.lists(MOODS, min_size=1, max_size=5))
    def send(self, key: str, moods: list[str]) -> None:
        for mood in moods:
            self.world.send(key, mood)

    @rule(key=KEYS, number=NUMBER, complete=st.booleans())
    def deliver(self, key: str, number: int, complete: bool) -> None:
        self.do(self.world.process(self.world.session(key, number), complete=complete))

    @rule(key=KEYS, one=NUMBER, two=NUMBER, drains=st.integers(0, 2))
    def compete(self, key: str, one: int, two: int, drains: int) -> None:
        """A session's lock was lost: two instances work on it, and the drain runs, once or twice."""
        world = self.world
        self.do(
            world.process(world.session(key, one)),
            world.process(world.session(key, two)),
            *(world.drain() for _ in range(drains)),
        )

    @rule()
    def drain(self) -> None:
        self.do(self.world.drain())

    @rule(key=KEYS, number=NUMBER, steps=st.integers(0, 50), after=st.booleans(), draining=st.booleans())
    def crash(self, key: str, number: int, steps: int, after: bool, draining: bool) -> None:
        """The instance dies before or after its n-th touch of storage, broker or event hub."""
        self.world.steps.left, self.world.steps.after = steps, after
        self.do(self.world.drain() if draining else self.world.process(self.world.session(key, number)))
        self.world.steps.left = None

    @rule(key=KEYS, number=NUMBER, share=st.sampled_from([0.05, 0.3, 0.9]))
    def fail(self, key: str, number: int, share: float) -> None:
        """Storage, broker or event hub refuse some calls."""
        self.world.steps.failing = share
        self.do(self.world.process(self.world.session(key, number)), self.world.drain())
        self.world.steps.failing = 0.0

    @precondition(lambda self: bool(self.world.dead()))
    @rule(data=st.data(), how=st.sampled_from(["discard", "mend", "in vain"]), dies=st.integers(0, 8))
    def decide(self, data: Any, how: str, dies: int) -> None:
        """An operator decides, and may be killed while doing so, or while the lane and the drain are at work."""
        message = data.draw(st.sampled_from(sorted(self.world.dead())))
        if dies < 4:
            self.world.steps.left, self.world.steps.after = dies, bool(dies % 2)
            self.do(self.world.resolve(message, how=how))
            self.world.steps.left = None
        else:
            key = self.world.graveyard.letters[message].key or ""
            self.do(
                self.world.process(self.world.session(key, dies)),
                self.world.resolve(message, how=how),
                self.world.drain(),
            )

    @invariant()
    def effects_come_in_order(self) -> None:
        """At every moment: a key's effects are those of its first messages, less the discarded ones."""
        if not hasattr(self, "world"):
            return
        for key, done in self.effects().items():
            sent = self.wanted(key)
            assert done == sent[: len(done)], (key, done, sent)

    def wanted(self, key: str) -> list[str]:
        world = self.world
        if key.endswith("-echo"):
            moods = {str(message): tick.mood for message, tick in world.sent.items()}
            return [one for one in self.wanted(key.removesuffix("-echo")) if moods[one] == "echo"]
        return [one for one in world.order[key] if one not in world.discarded]

    def effects(self) -> dict[str, list[str]]:
        return {
            str(row["key"]): list(Count.model_validate_json(row["value"]).messages)
            for (_, name), row in self.world.store.rows.items()
            if name.startswith("state:")
        }

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.do(self.world.settle_down())
        effects = self.effects()
        for key in [*self.world.order, *(f"{key}-echo" for key in self.world.order)]:
            assert effects.get(key, []) == self.wanted(key), "each message took effect once, in its turn"
        for key, facts in self.world.log.by_key().items():
            first = list(dict.fromkeys(fact.sequence for fact in facts))
            assert first == list(range(1, len(effects[key]) + 1)), (key, first)
        self.loop.close()


InOrder.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestInOrder = InOrder.TestCase
