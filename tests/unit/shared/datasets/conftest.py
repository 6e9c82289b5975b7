"""Datasets of a lake in a folder of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.datasets import Datasets

from .lakes import lake_in


@pytest.fixture
async def datasets(tmp_path: Path) -> AsyncIterator[Datasets]:
    """Of the lake in `tmp_path`."""
    found = lake_in(tmp_path)
    yield found
    await found.close()
