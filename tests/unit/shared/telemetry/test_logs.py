"""Log lines: one JSON object each, whatever the fields hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.telemetry import RecordedSpan, log_event, logs, span
from shared.telemetry.logs import JsonFormatter, configure_json, configure_platform
from tests.unit.traced import traced


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The process's own logging comes back."""
    logger = logging.getLogger("sluice")
    before = (logger.level, logger.propagate, list(logger.handlers), list(logger.filters))
    yield
    logger.level, logger.propagate, logger.handlers, logger.filters = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields() -> None:
    """Time in UTC, level, event."""
    stream = io.StringIO()
    configure_json(stream)
    log_event("batch", lane="high", received=3, id=UUID(int=1), when=datetime(2026, 1, 1, tzinfo=UTC), text="a\nb")
    (line,) = lines(stream)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "info",
        "event": "batch",
        "lane": "high",
        "received": 3,
        "id": str(UUID(int=1)),
        "when": "2026-01-01 00:00:00+00:00",
        "text": "a\nb",
    }


def test_an_error_brings_its_traceback_in_the_same_line() -> None:
    """So that a line stays a record."""
    stream = io.StringIO()
    configure_json(stream)
    log_event("failed", level=logging.ERROR, error=KeyError("sku"))
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "KeyError" in line["error"]


def test_configuring_twice_writes_once() -> None:
    """A reload doesn't double the log."""
    stream = io.StringIO()
    configure_json(stream)
    configure_json(stream)
    log_event("once")
    assert len(lines(stream)) == 1


@given(st.dictionaries(st.sampled_from(["a", "b", "reason"]), st.text() | st.floats() | st.binary() | st.none()))
@example({"a": float("inf")})
@example({"a": "one\x85two\u2028three", "b": "\ud800"})
def test_any_fields_make_one_line(fields: dict[str, Any]) -> None:
    """Of JSON that every reader takes."""
    record = logging.LogRecord("sluice", logging.INFO, __file__, 1, "event", None, None)
    record.fields = fields
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert len(line.splitlines()) == 1
    line.encode()
    assert json.loads(line, parse_constant=pytest.fail)["event"] == "event"


def test_where_the_platform_writes_the_fields_follow_the_event(caplog: pytest.LogCaptureFixture) -> None:
    """And become attributes of the record; names of the record's own are left alone."""
    configure_platform()
    with caplog.at_level(logging.INFO, logger="sluice"):
        log_event("batch", lane="high", name="not the logger's", percent="100%")
    (record,) = caplog.records
    assert record.getMessage() == 'batch {"lane": "high", "name": "not the logger\'s", "percent": "100%"}'
    assert record.__dict__["lane"] == "high"
    assert record.name == "sluice"


def test_a_line_has_the_ids_of_what_it_is_written_in(caplog: pytest.LogCaptureFixture) -> None:
    """Trace and message; what the line says itself counts."""
    with caplog.at_level("INFO", "sluice"), traced(), span("one") as one:
        assert isinstance(one, RecordedSpan)
        one.journey.message = "m-1"
        log_event("seen")
        log_event("seen", messageId="m-2")
    log_event("seen")
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    trace = f"{one.trace_id:032x}"
    assert fields == [{"traceId": trace, "messageId": "m-1"}, {"traceId": trace, "messageId": "m-2"}]


def test_a_storm_of_warnings_is_sampled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """By name and minute; each line of the sample says how many it stands for, and other names are written.

    What is left at the end of a minute is told by the next line, so that nothing is missing from the sum.
    """
    now = [120.0]
    monkeypatch.setattr(logs, "STORMS", logs._Storms(lambda: now[0]))
    with caplog.at_level("INFO", "sluice"):
        for _ in range(logs.MOST_A_MINUTE + 250):
            log_event("retry later", level=logging.WARNING)
        log_event("not sent", level=logging.WARNING)
        now[0] += 60
        log_event("retry later", level=logging.WARNING)
    left_out = [getattr(record, "fields", {}).get("leftOut", 0) for record in caplog.records]
    assert left_out == [0] * logs.MOST_A_MINUTE + [99, 99, 0, 50]


def test_a_storm_of_lines_that_stand_for_others_loses_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As security events do, which are bounded by themselves."""
    now = [120.0]
    monkeypatch.setattr(logs, "STORMS", logs._Storms(lambda: now[0]))
    with caplog.at_level("INFO", "sluice"):
        for _ in range(logs.MOST_A_MINUTE + 150):
            log_event("security", level=logging.WARNING, leftOut=2)
        now[0] += 60
        log_event("security", level=logging.WARNING, leftOut=0)
        log_event("security", level=logging.WARNING, leftOut=0)
    left_out = [getattr(record, "fields", {})["leftOut"] for record in caplog.records]
    assert left_out == [2] * logs.MOST_A_MINUTE + [99 * 3 + 2, 50 * 3, 0]
