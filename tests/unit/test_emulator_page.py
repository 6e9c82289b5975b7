"""The emulator's page says what the emulator does: its limits come from the table that is checked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from local_azure.broker.durations import FOREVER, format_duration
from local_azure.broker.entities import property_name
from local_azure.broker.limits import LIMITS

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "emulator.md"


def _shown(bound: timedelta | int) -> str:
    if isinstance(bound, timedelta):
        return "no end" if bound == FOREVER else format_duration(bound)
    return f"{bound:,}"


def test_every_limit_stands_in_the_page() -> None:
    """With the bounds that files and the management API are checked against, and what the service takes instead."""
    section = _PAGE.read_text().partition("## Limits of properties")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    expected = [
        [
            f"`{property_name(name)}`" if "_" in name else name,
            _shown(limit.smallest),
            _shown(limit.largest),
            limit.service,
        ]
        for name, limit in LIMITS.items()
    ]
    assert rows[2:] == expected
