"""What is mutated, and which tests have to notice."""

from typing import NamedTuple

__all__ = ["TARGETS", "Target"]


class Target(NamedTuple):
    """A package with its own tests: those of its neighbours call it too, but don't look at what it answers.

    Attributes
    ----------
    files, without:
        Patterns of the files that are mutated, and of those among them that aren't.
    tests:
        Folders and files of tests, relative to the project. Those that search for a fault at random are left out: they
        take seconds for each mutant, and find one only by chance.
    """

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()


TARGETS = (
    Target("work", ("shared/work/*",), ("tests/unit/shared/work",)),
    Target("outbox", ("shared/outbox/*",), ("tests/unit/shared/outbox",)),
    Target("ordered", ("shared/ordered/*",), ("tests/unit/shared/ordered",)),
    Target(
        "pipeline",
        ("shared/processing/*",),
        (
            "tests/unit/shared/processing",
            "tests/unit/shared/ordered/test_lane.py",
            "tests/unit/functions/test_trace_tree.py",  # which spans a message leaves
            "tests/unit/functions/test_metrics_route.py",  # and how it is counted
        ),
    ),
    Target("resilience", ("shared/resilience/*",), ("tests/unit/resilience",)),
)
