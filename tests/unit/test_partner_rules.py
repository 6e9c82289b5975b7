"""The check of the boundary: what it refuses in integrations, and what passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.partner_rules import broken_rules

PARTNER = """
from shared.partners import Partner, PartnerModel

class Label(PartnerModel):
    id: str

class LongLabel(Label):
    more: str

carrier = Partner("carrier", base_url="https://carrier.example")
"""


def found(tmp_path: Path, text: str, *, partner: str = PARTNER) -> list[str]:
    """What the check says of a module beside a partner's."""
    folder = tmp_path / "integrations"
    folder.mkdir()
    (folder / "carrier.py").write_text(partner, encoding="utf-8")
    (folder / "shop.py").write_text(text, encoding="utf-8")
    return list(broken_rules(tmp_path))


def test_the_project_keeps_to_the_boundary(project: Path) -> None:
    """Nothing of its integrations breaks a rule."""
    assert list(broken_rules(project)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import aiohttp",
        "import requests.sessions",
        "from httpx import AsyncClient",
        "from urllib import request",
        "from urllib.request import urlopen",
        "import http.client as web",
        "def late():\n    import aiohttp",
        "import asyncio\nasync def f(): await asyncio.gather()",
        "from asyncio import gather",
        "from integrations.carrier import Label",
        "from .carrier import LongLabel as Other",
    ],
)
def test_what_breaks_a_rule_is_named_with_its_place(tmp_path: Path, text: str) -> None:
    """One line for each."""
    (line,) = found(tmp_path, text)
    assert line.startswith("integrations/shop.py:")


@pytest.mark.parametrize(
    "text",
    [
        "from integrations.carrier import carrier",
        "from urllib.parse import quote",
        "async def f(work): await work.gather()",
        "import asyncio",
        "from http import HTTPStatus",
    ],
)
def test_what_breaks_none_passes(tmp_path: Path, text: str) -> None:
    """Addresses may be taken apart, and partners called."""
    assert found(tmp_path, text) == []


def test_a_partners_own_module_may_need_a_client(tmp_path: Path) -> None:
    """For what a Partner can't do."""
    assert found(tmp_path, "", partner=f"import aiohttp\n{PARTNER}") == []
