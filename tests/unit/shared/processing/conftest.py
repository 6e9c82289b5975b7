"""Batches that fail here don't wait before they are given back."""

from __future__ import annotations

from typing import Any

import pytest

from shared.processing import pipeline

HOLD = pipeline._hold
"""What the app does."""


@pytest.fixture(autouse=True)
def no_holding_back(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A failed batch waits before it is given back; here the wait is only noted."""
    held: list[int] = []

    async def hold(items: list[Any], *_: float) -> None:
        held.append(len(items))

    monkeypatch.setattr(pipeline, "_hold", hold)
    return held
