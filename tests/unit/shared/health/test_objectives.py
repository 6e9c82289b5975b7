"""How fast an error budget is spent, over an hour and over six."""

from __future__ import annotations

import pytest

from shared.health import Degraded, Objectives


class Counted:
    """Counts that grow, and a clock that is moved."""

    def __init__(self) -> None:
        self.lanes: dict[str, tuple[float, float]] = {}
        self.seconds = 0.0
        self.objectives = Objectives(lambda: self.lanes, clock=lambda: self.seconds)

    def pass_by(self, minutes: int, *, met: float, missed: float, lane: str = "high") -> None:
        """So many messages in each of some minutes."""
        for _ in range(minutes):
            self.seconds += 60
            before = self.lanes.get(lane, (0.0, 0.0))
            self.lanes[lane] = (before[0] + met, before[1] + missed)
            self.objectives.burns()

    def rates(self, lane: str = "high") -> tuple[float, float]:
        """Over an hour and over six."""
        found = self.objectives.burns()[lane]
        return round(found["1h"].rate, 3), round(found["6h"].rate, 3)


async def test_a_budget_that_is_spent_as_allowed_burns_at_one() -> None:
    """Whatever the volume."""
    counted = Counted()
    counted.pass_by(600, met=999, missed=1)
    assert counted.rates() == (1, 1)
    assert (await counted.objectives.ask())["high"]["burn1h"] == 1


async def test_an_outage_shows_in_the_hour_first_and_leaves_it_first() -> None:
    """Twenty minutes of failures: 333 times too fast over the hour, 56 over six; then the hour forgets them."""
    counted = Counted()
    counted.pass_by(600, met=100, missed=0)
    counted.pass_by(20, met=0, missed=100)
    assert counted.rates() == (333.333, 55.556)
    with pytest.raises(Degraded, match="on high") as told:
        await counted.objectives.ask()
    assert told.value.data["high"]["1h"] == "66.667%"
    counted.pass_by(61, met=100, missed=0)
    assert counted.rates()[0] == 0
    assert counted.rates()[1] == pytest.approx(55.556, rel=0.01)
    counted.pass_by(301, met=100, missed=0)
    assert counted.rates() == (0, 0)


async def test_a_few_misses_among_few_messages_wake_nobody() -> None:
    """Nine of twenty are a burn of 450, and no outage yet; ten are one."""
    counted = Counted()
    counted.pass_by(1, met=11, missed=9)
    assert (await counted.objectives.ask())["high"]["burn1h"] == 450
    counted.pass_by(1, met=0, missed=1)
    with pytest.raises(Degraded):
        await counted.objectives.ask()


async def test_lanes_have_budgets_of_their_own() -> None:
    """A quiet lane's failures aren't hidden by a busy one's success."""
    counted = Counted()
    counted.pass_by(60, met=10_000, missed=0, lane="low")
    counted.pass_by(10, met=1, missed=1)
    assert counted.rates("low") == (0, 0)
    assert counted.rates("high") == (500, 500)
    assert set(counted.objectives.burns()) == {"high", "low"}


async def test_after_a_start_the_window_is_what_there_is() -> None:
    """And says so; nothing that ended spends nothing."""
    counted = Counted()
    assert await counted.objectives.ask() == {}
    counted.pass_by(5, met=1, missed=0)
    assert counted.objectives.burns()["high"]["6h"].seconds == 300
    counted.lanes["low"] = (0, 0)
    assert counted.rates("low") == (0, 0)


async def test_counts_that_begin_anew_are_no_failures() -> None:
    """As where metrics were switched off and on."""
    counted = Counted()
    counted.pass_by(30, met=100, missed=0)
    counted.lanes["high"] = (1, 0)
    assert counted.rates() == (0, 0)


def test_memory_is_bounded() -> None:
    """Six hours of minutes, however often it is asked."""
    counted = Counted()
    for _ in range(3_000):
        counted.seconds += 15
        counted.lanes["high"] = (counted.seconds, 0)
        counted.objectives.burns()
    assert len(counted.objectives._kept) <= 362


@pytest.mark.parametrize("target", [0, 1, 1.5, -0.1])
def test_an_objective_is_a_share(target: float) -> None:
    """All of them can't be promised, and none needn't."""
    with pytest.raises(ValueError, match="objective"):
        Objectives(dict, target=target)
