"""The page about traces: its snippets run, its settings and options exist."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ops.tracing.command import main
from shared.telemetry.settings import TelemetrySettings
from shared.telemetry.span_store import SpanStore
from tests.unit.functions.test_trace_tree import shipped
from tests.unit.traced import traced


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    """The page."""
    return (project / "docs" / "telemetry.md").read_text(encoding="utf-8")


def snippets(page: str, language: str) -> list[str]:
    """The blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_step_of_a_handler_is_recorded(page: str) -> None:
    """As it stands there."""
    with traced() as kept:
        for snippet in snippets(page, "python"):
            exec(compile(snippet, "telemetry.md", "exec"), {})
    assert kept.named("ask the carrier").attributes == {"carrier": "dhl", "parcels": 3}


async def test_the_store_answers_the_query_of_the_page(page: str, tmp_path: Path) -> None:
    """And the spans that the page lists are those that an order leaves."""
    with traced() as kept:
        await shipped(0)
    with closing(SpanStore(tmp_path / "s")) as store:
        store.put(kept.spans, "app")
    (query,) = snippets(page, "sql")
    with closing(sqlite3.connect(tmp_path / "s")) as database:
        names = {row[0] for row in database.execute(query)}
    listed = re.findall(r"`([^`]+)`", page.partition("## What is recorded")[2])
    known = {name.replace("LANE", "normal").replace("EVENT TYPE", "parcel.sent") for name in listed}
    assert names - {"ask the carrier", "POST /api/messages"} <= known


def test_settings_and_options_exist(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No name on the page is made up."""
    main(["--help"])
    usage = capsys.readouterr().out
    for option in set(re.findall(r"(?<![\w-])--[a-z]+", page)):
        assert option in usage, option
    variables = {str(field.alias) for field in TelemetrySettings.model_fields.values()}
    for name in set(re.findall(r"`(SLUICE_[A-Z_]+)", page)):
        assert name in variables, name
