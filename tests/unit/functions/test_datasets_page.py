"""What docs/datasets.md shows is what the app answers."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from pydantic_core import from_json

from functions.composition.datasets import datasets
from shared.datasets.settings import DatasetSettings
from shared.messages import Registry
from tests.unit.shared.datasets.lakes import lake_in, written

from .conftest import ENVIRONMENT, Running
from .test_datasets import LAKE, SALES


def blocks(page: str, language: str) -> list[str]:
    """The page's code in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


async def test_its_requests_are_answered_as_it_shows(project: Path, registry: Registry, tmp_path: Path) -> None:
    """Two pages, and a refusal."""
    page = (project / "docs" / "datasets.md").read_text(encoding="utf-8")
    written(tmp_path, "sales", SALES.replace("range(1, 13)", "range(1, 7)"), partition_by=["day"])
    written(tmp_path, "sales", SALES.replace("range(1, 13)", "range(7, 13)"))
    lake = lake_in(tmp_path)
    running = Running(registry, {**ENVIRONMENT, **LAKE, "SLUICE_DATASETS_OPERATOR_ROWS": "10"}, {datasets: lake})
    answers = [
        await running.get(f"{path}?{quote(query.strip(), safe='$=&')}")
        for path, _, query in (one.removeprefix("GET ").partition("?") for one in blocks(page, "http"))
    ]
    await lake.close()
    shown = [from_json(one) for one in blocks(page, "json")]
    assert [one.json | {"nextLink": None} for one in answers[:2]] == [one | {"nextLink": None} for one in shown]
    assert (answers[2].status, answers[2].json["error"]["message"]) == (400, blocks(page, "text")[0].strip())


def test_it_names_every_setting(project: Path) -> None:
    """With no other."""
    page = (project / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert set(re.findall(r"SLUICE_DATASETS\w*", page)) == set(DatasetSettings.variables())
