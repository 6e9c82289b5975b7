"""The guide's examples run."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrations.orders import orders
from integrations.orders.models import OrderView
from shared.testing import run


def _snippets(project: Path) -> list[str]:
    guide = (project / "docs" / "testing-handlers.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)


async def test_every_test_of_the_guide_passes(project: Path) -> None:
    found: dict[str, Any] = {}
    exec(compile(_snippets(project)[0], "testing-handlers.md", "exec"), found)
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert len(tests) >= 4
    for test in tests:
        result = test()
        if inspect.isawaitable(result):
            await result


async def test_the_call_with_every_option_runs(project: Path) -> None:
    order: dict[str, Any] = {}
    exec(compile(_snippets(project)[0], "testing-handlers.md", "exec"), order)
    earlier = (await run(orders, "order.placed", order["ORDER"])).saved["order", "536365"]
    assert isinstance(earlier, OrderView)
    names = {
        "orders": orders,
        "run": run,
        "ORDER": order["ORDER"],
        "earlier": earlier,
        "datetime": datetime,
        "UTC": UTC,
    }
    call = _snippets(project)[2].replace("outcome = await run", "pending = run")
    exec(compile(call, "testing-handlers.md", "exec"), names)
    assert (await names["pending"]).done


async def test_the_partners_example_passes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    snippet = next(one for one in _snippets(project) if "AnsweringPartner" in one)
    exec(compile(snippet, "testing-handlers.md", "exec"), found)
    await found["test_an_order_is_shipped_though_the_carrier_stumbles"](monkeypatch)
