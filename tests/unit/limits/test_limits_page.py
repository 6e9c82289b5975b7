"""docs/limits.md and docs/api.md: what they show is what the app reads and says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import http_sf
import pytest

from shared.http.versions import deprecations
from shared.limits import Period, Plans, Rate, SharedRate
from shared.limits.leased import LeasedRate, Surroundings
from shared.limits.limiter import Applied, Verdict
from shared.limits.rows import TableBlocks
from shared.tables import MemoryTable
from tests.unit.virtual_time import START


@pytest.fixture
def page(project: Path) -> str:
    """The page about limits."""
    return (project / "docs" / "limits.md").read_text(encoding="utf-8")


def test_the_plans_on_the_page_are_plans(page: str) -> None:
    (text,) = re.findall(r"```json\n(.+?)```", page, re.DOTALL)
    plans = Plans.parse(text)
    assert plans.of("acme").is_high
    assert plans.of("anybody").quotas == {Period.DAY: 100_000, Period.MONTH: 2_000_000}


def test_the_fields_on_the_page_are_those_of_an_answer(page: str) -> None:
    (shown,) = re.findall(r"```\n(RateLimit-Policy.+?)```", page, re.DOTALL)
    fields = dict(line.split(": ", 1) for line in shown.strip().splitlines())
    policies: Any = http_sf.parse(fields["RateLimit-Policy"].encode(), tltype="list")
    states: Any = http_sf.parse(fields["RateLimit"].encode(), tltype="list")
    assert [name for name, _ in policies] == [name for name, _ in states] == ["POST /orders", "requests", "day"]
    store = TableBlocks(MemoryTable(), now=lambda: START)
    around = Surroundings(store, instances=1, clock=lambda: 0.0, random=lambda: 0.0)
    leases = [
        LeasedRate("a", SharedRate.of(name, rate), around)
        for name, rate in (("POST /orders", Rate(rate=20, burst=20)), ("requests", Rate(rate=50, burst=100)))
    ]
    sent = dict(Verdict(Plans.parse('{"default":"a","plans":{"a":{}}}').of("a"), Applied(*leases)).fields())
    assert {name.decode() for name in sent} == {name.lower() for name in fields}
    written: Any = http_sf.parse(sent[b"ratelimit-policy"], tltype="list")
    assert policies[:2] == written


def test_the_deprecation_on_the_page_makes_the_fields_beside_it(project: Path) -> None:
    text = (project / "docs" / "api.md").read_text(encoding="utf-8")
    (shown,) = [one for one in re.findall(r"```json\n(.+?)```", text, re.DOTALL) if '"sunset"' in one]
    fields = dict(deprecations(json.dumps(json.loads(shown)))["v1"].headers)
    assert f"`Deprecation: {fields[b'deprecation'].decode()}`" in text
    assert f"`Sunset: {fields[b'sunset'].decode()}`" in text
