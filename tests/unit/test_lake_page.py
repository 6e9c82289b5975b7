"""What docs/lake.md shows is what the app does: its declarations are the sample's, its commands are there."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from integrations.orders import daily_sales, orders
from integrations.orders.models import OrderAccepted
from ops.lake.command_line import VERBS
from ops.lake.querying import MEMORY_MB as QUERY_MB
from shared.lake.gold.computing import MEMORY_MB
from shared.lake.gold.refreshing import MOST_DAYS
from shared.messages import Contract, Integration, Source
from shared.state.store import MAX_VALUE_BYTES


def page(project: Path) -> str:
    return (project / "docs" / "lake.md").read_text(encoding="utf-8")


def test_the_declarations_are_those_of_the_sample(project: Path) -> None:
    shown = Integration("orders")
    names = {
        "orders": shown,
        "OrderAccepted": OrderAccepted,
        "Contract": Contract,
        "Source": Source,
        "date": date,
        "Decimal": Decimal,
        "Annotated": Annotated,
        "Field": Field,
    }
    snippets = re.findall(r"```python\n(.*?)```", page(project), re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(compile(snippet, "lake.md", "exec", dont_inherit=True), names)
    assert shown.silvers[0] == orders.silvers[0]
    ((gold,), (own,)) = shown.golds, orders.golds
    assert (gold.name, gold.keys, gold.sources, [*gold.columns()]) == (
        own.name,
        own.keys,
        own.sources,
        [*own.columns()],
    )
    assert " ".join(gold.call().split()) == " ".join(daily_sales().split())


def test_the_commands_are_those_that_there_are(project: Path) -> None:
    assert set(re.findall(r"dev\.py lake ([a-z-]+)", page(project))) == set(VERBS)


def test_the_figures_are_those_of_the_code(project: Path) -> None:
    text = page(project)
    assert f"An event takes {MAX_VALUE_BYTES // 1024} KiB" in text
    assert f"more than {MOST_DAYS} days changed" in text
    assert f"has {MEMORY_MB} MB and the time of a" in " ".join(text.split())
    assert f"read into memory ({QUERY_MB // 1024} GB)" in text
