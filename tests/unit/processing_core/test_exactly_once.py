"""Effects happen exactly once and a key's facts come in order, whatever dies, repeats, conflicts or is slow."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.processing import pipeline

from .world import Count, World

KEYS = st.sampled_from(["a", "b", "c"])
MOODS = st.sampled_from(["good", "good", "tells", "keeps", "retry-once", "partial-once", "reject", "broken", "echo"])


@pytest.fixture(autouse=True, scope="module")
def _no_waiting() -> Any:
    """A failed batch is held back for a while; time is not what is tried here."""
    patch = pytest.MonkeyPatch()

    async def at_once(*_: object) -> None:
        return None

    patch.setattr(pipeline, "_hold", at_once)
    yield
    patch.undo()


class ExactlyOnce(RuleBasedStateMachine):
    """Random interleavings against what every message should have done."""

    @initialize(seed=st.integers(0, 2**32), guess_after=st.sampled_from([0, 1, 32]))
    def begin(self, seed: int, guess_after: int) -> None:
        """With 0 every message is taken for the first of its key, mostly wrongly."""
        self.loop = asyncio.new_event_loop()
        self.world = World(seed, guess_after)

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(coroutine)

    @rule(key=KEYS, moods=st.lists(MOODS, min_size=1, max_size=4))
    def send(self, key: str, moods: list[str]) -> None:
        """Several of one key, so that instances meet at it."""
        for mood in moods:
            self.world.send(key, mood)

    @rule(number=st.integers(1, 6), shuffled=st.randoms(use_true_random=False), forget=st.booleans())
    def deliver(self, number: int, shuffled: Any, forget: bool) -> None:
        waiting = list(self.world.broker.waiting)
        shuffled.shuffle(waiting)
        self.do(self.world.deliver(waiting[:number], forget_to_complete=forget))

    @rule(number=st.integers(1, 4))
    def redeliver(self, number: int) -> None:
        """The same messages twice in one batch, and in two batches one after the other."""
        chosen = self.world.broker.waiting[:number]
        self.do(self.world.deliver([*chosen, *chosen], forget_to_complete=True))

    @precondition(lambda self: len(self.world.broker.waiting) > 1)
    @rule(cut=st.integers(1, 5), sweeps=st.integers(1, 2))
    def compete(self, cut: int, sweeps: int) -> None:
        """Two instances at once, with messages of the same keys, and the sweep, once or twice."""
        waiting = list(self.world.broker.waiting)[: 2 * cut]
        one, two = waiting[::2], waiting[1::2]

        async def both() -> None:
            await asyncio.gather(
                self.world.deliver(one), self.world.deliver(two), *(self.world.sweep() for _ in range(sweeps))
            )

        self.do(both())

    @precondition(lambda self: bool(self.world.broker.waiting))
    @rule(steps=st.integers(0, 40), after=st.booleans(), number=st.integers(1, 6))
    def crash(self, steps: int, after: bool, number: int) -> None:
        """The instance dies before or after its n-th touch of storage, broker or event hub."""
        self.world.steps.left, self.world.steps.after = steps, after
        self.do(self.world.deliver(self.world.broker.waiting[:number]))
        self.world.steps.left = None

    @rule(steps=st.integers(0, 15), after=st.booleans())
    def crash_sweep(self, steps: int, after: bool) -> None:
        self.world.steps.left, self.world.steps.after = steps, after
        self.do(self.world.sweep())
        self.world.steps.left = None

    @precondition(lambda self: bool(self.world.broker.waiting))
    @rule(share=st.sampled_from([0.05, 0.3, 0.9]), number=st.integers(1, 6))
    def fail(self, share: float, number: int) -> None:
        """Storage, broker or event hub refuse some calls."""
        self.world.steps.failing = share
        self.do(self.world.deliver(self.world.broker.waiting[:number]))
        self.world.steps.failing = 0.0

    @precondition(lambda self: bool(self.world.broker.waiting))
    @rule(number=st.integers(1, 6))
    def lose_the_hub(self, number: int) -> None:
        """What is committed meanwhile stays in the outbox, and goes before what its key says next."""
        self.world.log.away = True
        self.do(self.world.deliver(self.world.broker.waiting[:number]))
        self.world.log.away = False

    @invariant()
    def facts_come_in_order(self) -> None:
        """At every moment: the first copies of a key's facts are numbered 1, 2, 3 … without a gap."""
        if not hasattr(self, "world"):
            return
        for key, facts in self.world.log.by_key().items():
            first = list(dict.fromkeys(fact.sequence for fact in facts))
            assert first == list(range(1, len(first) + 1)), (key, first)
            assert len({fact.sequence for fact in facts}) == len({fact.id for fact in facts})

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.do(self.world.settle_down())
        self.facts_come_in_order()
        self.everything_was_done_once()
        self.loop.close()

    def everything_was_done_once(self) -> None:
        world = self.world
        expected: dict[str, list[str]] = {}
        told: Counter[str] = Counter()
        for message_id, tick in world.sent.items():
            if tick.mood in ("reject", "broken"):
                assert str(message_id) in world.graveyard.letters, "a refused message is a dead letter"
                continue
            if tick.mood == "tells":
                told[tick.key] += 1
                continue
            expected.setdefault(tick.key, []).append(str(message_id))
            if tick.mood == "echo":
                expected.setdefault(f"{tick.key}-echo", []).append(str(message_id))
        rows = world.store.rows
        counted = {
            row["key"]: Count.model_validate_json(row["value"]) for (_, name), row in rows.items() if "state:" in name
        }
        for key, messages in expected.items():
            assert sorted(counted[key].messages) == sorted(messages), "each message took effect exactly once"
            assert counted[key].total == len(messages)
        assert set(counted) == set(expected)
        published = {key: {fact.sequence for fact in facts} for key, facts in world.log.by_key().items()}
        left = [json.loads(row["value"]) for (_, name), row in rows.items() if name.startswith("outbox:")]
        assert not left, "nothing is left in the outbox"
        for key in {*expected, *told}:
            kept = sum(tick.mood == "keeps" for tick in world.sent.values() if tick.key == key)
            events = len(expected.get(key, [])) + told[key] - kept
            commands = sum(tick.mood == "echo" for tick in world.sent.values() if tick.key == key)
            sequences = [row["sequence"] for (_, name), row in rows.items() if name == f"head:{key}"]
            assert sequences == ([events + commands] if events + commands else [])
            assert len(published.get(key, ())) == events, "every event was published"


ExactlyOnce.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestExactlyOnce = ExactlyOnce.TestCase
