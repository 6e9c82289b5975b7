"""What docs/queries.md shows is what the app answers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from pydantic_core import from_json

from shared.messages import Integration, Registry
from shared.query import indexes_of
from tests.unit.shared.query.samples import Parcel, Send

from .test_api_queries import started


def blocks(project: Path, language: str) -> list[str]:
    """The page's code in a language, in order."""
    page = (project / "docs" / "queries.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


async def test_its_requests_are_answered_as_it_says(project: Path, registry: Registry) -> None:
    """A page, and a refusal; a link is cut off there."""
    running = await started(registry)
    page, refused = [
        await running.get(path + "?" + quote(query.strip(), safe="$=&"))
        for path, _, query in (one.removeprefix("GET ").partition("?") for one in blocks(project, "http"))
    ]
    shown = from_json(blocks(project, "json")[0])
    assert page.json.pop("nextLink", "").startswith("/api/orders?") is True
    assert {**page.json, "nextLink": shown["nextLink"]} == shown
    assert (refused.status, refused.json["error"]["message"]) == (400, blocks(project, "text")[0].strip())


def test_its_declaration_is_one(project: Path) -> None:
    """It declares two indexes."""
    parcels = Integration("parcels")

    @parcels.handles("parcel.sent", key="parcelId")
    async def send(command: Send, work: object) -> None:
        """It is only looked at."""

    exec(
        compile(blocks(project, "python")[0], "queries.md", "exec", dont_inherit=True),
        {"parcels": parcels, "Parcel": Parcel},
    )
    assert [str(one) for one in indexes_of(Registry([parcels]))["parcels"].indexes] == [
        '"country"',
        '("customerId", "-sentAt")',
    ]
