"""A message that ends its worker becomes one dead letter after few deliveries, and its neighbours are done."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.azurite import AzuriteEndpoints
from shared.messages import Lane
from tests.scale import SCALE

_NUMBERS = itertools.count(1, 1_000)
NOWHERE = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=none;SharedAccessKey=bm9uZQ=="
"""No broker answers there; a batch is handed over by this test."""
AT_LENGTH = pytest.mark.skipif(SCALE <= 1, reason="many workers have to die: SLUICE_TEST_SCALE above 1")


class Deliveries:
    """Hands the same batch to one worker after the other, until one lives to say what became of it."""

    def __init__(self, storage: str, project: Path) -> None:
        self._project = project
        settings = {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "State": storage, "Claims": storage}
        own = {"SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_STATE_BUCKETS": "16", "PYTHONPATH": str(project)}
        self._environment = {**os.environ, **settings, **own}
        self._first = next(_NUMBERS)

    def until_it_lives(self, lane: Lane, *moods: str, most: int = 10) -> tuple[int, list[Any]]:
        """Which delivery it was, and each message's status with the codes of its dead letters.

        The first two, in which nobody is suspected, kill their workers too, and change nothing.
        """
        for count in range(3, most + 1):
            command = [sys.executable, "-m", "tests.integration.killers.worker", lane.value, str(count)]
            worker = subprocess.run(
                [*command, str(self._first), *moods],
                cwd=self._project,
                env=self._environment,
                capture_output=True,
                check=False,
            )
            if worker.returncode == 0:
                return count, json.loads(worker.stdout.splitlines()[-1])
            assert worker.returncode != 1, worker.stderr.decode()
        raise AssertionError(f"every one of {most} workers died")


@pytest.fixture
def deliveries(azurite: AzuriteEndpoints, project: Path) -> Deliveries:
    return Deliveries(azurite.connection_string, project)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("lane", "mood"),
    [
        (Lane.NORMAL, "is killed"),
        (Lane.ORDERED, "exits"),
        pytest.param(Lane.LOW, "blocks", marks=AT_LENGTH),
        pytest.param(Lane.HIGH, "exits", marks=AT_LENGTH),
    ],
)
def test_a_killer_is_one_dead_letter_and_its_neighbours_are_done(deliveries: Deliveries, lane: Lane, mood: str) -> None:
    """Two deliveries as ever, two alone, and at the fifth nobody runs it any more."""
    count, found = deliveries.until_it_lives(lane, "good", mood, "good")
    assert (count, found) == (5, [["done"], ["dead", "WORKER_LOST"], ["done"]])


@AT_LENGTH
@pytest.mark.timeout(600)
def test_two_killers_of_one_batch_are_told_apart(deliveries: Deliveries) -> None:
    count, found = deliveries.until_it_lives(Lane.HIGH, "exits", "good", "is killed")
    assert (count, found) == (7, [["dead", "WORKER_LOST"], ["done"], ["dead", "WORKER_LOST"]])
