"""What the README shows works as it stands there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from shared.messages import Integration
from shared.testing import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def parcels() -> Iterator[ModuleType]:
    """The README's module, imported under a name of its own."""
    found = re.search(r"<!-- snippet: integrations/parcels\.py -->\n```python\n(.*?)```", README, re.S)
    assert found, "the README shows how to add an integration"
    module = ModuleType("readme_parcels")
    sys.modules[module.__name__] = module
    exec(compile(found[1], "README.md", "exec"), vars(module))
    module.text = found[1]  # type: ignore[attr-defined]
    yield module
    del sys.modules[module.__name__]


async def test_the_shown_integration_keeps_and_tells_a_scan(parcels: ModuleType) -> None:
    integration: Integration = parcels.parcels
    outcome = await run(integration, "parcel.scanned", {"parcelId": "P1", "place": "Leeds"})
    assert outcome.done
    assert outcome.saved["parcel", "P1"].model_dump()["place"] == "Leeds"
    assert [fact.event_type for fact in outcome.published] == ["parcel.moved"]
    assert [handler.route for handler in integration.handlers] == ["scans"]


def test_an_integration_takes_fifteen_lines_at_most(parcels: ModuleType) -> None:
    assert sum(bool(line.strip()) for line in parcels.text.splitlines()) <= 15


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
