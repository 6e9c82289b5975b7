"""The page on scheduled work: its example runs, and its log events are those of the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.jobs import ScheduledRun
from shared.messages import Integration, Registry


async def test_the_example_runs(project: Path) -> None:
    """As it stands there."""
    found = re.search(r"```python\n(.*?)```", (project / "docs" / "scheduled-work.md").read_text(), re.S)
    assert found
    names: dict[str, Any] = {}
    exec(compile(found[1], "scheduled-work.md", "exec"), names)
    integration = names["parcels"]
    assert isinstance(integration, Integration)
    (scheduled,) = Registry([integration]).scheduled
    sent: list[tuple[UUID, str, str, Any]] = []

    async def send(*command: Any) -> None:
        sent.append(command)

    due = datetime(2026, 1, 5, 8, 15, tzinfo=UTC)
    for _ in range(2):
        run = ScheduledRun(name=scheduled.name, due=due, last_success=None, time_left=lambda: 240.0, _send=send)
        assert await scheduled.call(run) is False
    assert scheduled.name == "parcels.find-overdue"
    assert [event_type for _, event_type, _, _ in sent] == ["parcel.overdue"] * 2
    assert sent[0][0] == sent[1][0]  # a run that is begun again gives its commands the same ids


def test_the_page_names_every_log_event(project: Path) -> None:
    """And no other."""
    source = (project / "shared" / "jobs" / "runner.py").read_text()
    page = (project / "docs" / "scheduled-work.md").read_text()
    assert set(re.findall(r"^\| `(job [a-z ]+)` \|", page, re.M)) == set(re.findall(r'log_event\(\s*"([^"]+)"', source))
