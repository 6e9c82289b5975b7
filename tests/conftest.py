"""Fixtures that every layer of the suite may use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# An example that takes long on a busy machine proves nothing: what may hang has a time-out.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


E2E = PROJECT / "tests" / "e2e"
MIXED = [
    PROJECT / folder
    for folder in ("tests/integration", "tests/infra", "local-azure/tests/foreign", "local-azure/tests/integration")
]
"""Folders whose files take turns, in proportion to their number."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files that wait for brokers and hosts beside files that compute, so that no core is idle.

    The longest come first, the many short ones last.
    """
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
    items[:] = [item for path in sorted(files, key=places(list(files)).__getitem__) for item in files[path]]


def places(paths: Sequence[Path]) -> dict[Path, tuple[int, float]]:
    """Where each file belongs: end to end first, then the mixed folders evenly spread, then the rest as it came."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    found: dict[Path, tuple[int, float]] = {}
    for path in paths:
        folder = next((one for one in MIXED if path.is_relative_to(one)), None)
        if folder:
            folders[folder].append(path)
        else:
            found[path] = (0 if path.is_relative_to(E2E) else 2, 0.0)
    for members in folders.values():
        found |= {path: (1, (number + 0.5) / len(members)) for number, path in enumerate(members)}
    return found
