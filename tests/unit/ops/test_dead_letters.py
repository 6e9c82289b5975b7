"""The command line's words, what it prints, and the message that a replay sends."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.dead_letters.arguments import filters_of, moment_of, order_by, parse, ramp_of
from ops.dead_letters.choosing import group_by
from ops.dead_letters.rendering import (
    group_json,
    groups_table,
    letter_json,
    letter_text,
    letters_table,
    report_json,
    trend,
)
from shared.dead_letters import DeadLetter, Filters, Note, Outgoing, Ramp, Report, Status, StoredLetter, replay_message
from shared.dead_letters.rows import from_row, history_column, to_row
from shared.dead_letters.selection import Group, grouped_into
from shared.messages import Registry
from shared.tables.azure import _odata

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EMPTY = Outgoing(b"", {})


def stored(*notes: Note, replays: int = 0, **changes: Any) -> StoredLetter:
    usual: dict[str, Any] = {
        "identity": "0b9c2a4e-0000-4000-8000-000000000001",
        "message_id": "0b9c2a4e-0000-4000-8000-000000000001",
        "body": b'{"data": {}}',
        "properties": {"attempt": 4, "firstAttemptAt": "2026-05-01T12:00:00+00:00", "tenant": "blue"},
        "source": "lane:high",
        "category": "invalid",
        "code": "VALIDATION_ERROR",
        "reason": "wrong",
        "attempts": 4,
        "first_failure": NOON,
        "last_failure": NOON,
    }
    row = to_row(DeadLetter(**(usual | changes)))
    return from_row(row | {"replays": replays, "history": history_column(notes)})


def test_letters_that_are_not_settled_are_meant_unless_a_status_is_given() -> None:
    def meant(*arguments: str) -> frozenset[Status]:
        return filters_of(parse(["list", *arguments], program="x"), now=NOON).status

    assert meant() == {Status.OPEN, Status.REPLAYING}
    assert meant("--status", "discarded", "--status", "open") == {Status.DISCARDED, Status.OPEN}
    assert meant("--status", "any") == frozenset()


def test_every_filter_reaches_the_query() -> None:
    words = "list --status any --category a --code b --event-type c --key d --lane e --source f --fingerprint g"
    words += " --message-id h --since 2h --until 2026-05-01T11:00:00Z"
    conditions = filters_of(parse(words.split(), program="x"), now=NOON).conditions()
    assert sorted((one.value for one in conditions), key=str) == sorted(
        [*"abcdefgh", NOON - timedelta(hours=2), NOON - timedelta(hours=1)], key=str
    )
    assert len({(one.column, one.operator) for one in conditions}) == 10


@given(st.text(), st.text())
def test_a_value_never_becomes_part_of_the_filter(key: str, code: str) -> None:
    """Quotes are doubled, nothing else is done to it."""
    conditions = Filters(key=key, code=code, status=frozenset(Status)).conditions()
    filled = " and ".join(map(_odata, conditions))
    outside = re.sub(r"'(?:[^']|'')*'", "V", filled, flags=re.DOTALL)
    assert outside == "code eq V and key eq V and (" + " or ".join(["status eq V"] * len(Status)) + ")"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOON - timedelta(seconds=90)),
        ("15m", NOON - timedelta(minutes=15)),
        ("3d", NOON - timedelta(days=3)),
        ("2026-04-30T00:00:00Z", datetime(2026, 4, 30, tzinfo=UTC)),
        ("2026-05-01T10:00:00+02:00", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        (None, None),
    ],
)
def test_moments_are_absolute_or_ago(text: str | None, expected: datetime | None) -> None:
    assert moment_of(text, now=NOON) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "5x", "-2h", "9999999d", "999999d", "2026-04-30", "20260430", "2026-05-01T10:00:00"]
)
def test_a_moment_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no moment"):
        moment_of(text, now=NOON)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "replay",
        "replay --reason x",
        "replay --all",
        "discard abcd --reason",
        "list --limit 0",
        "list --limit x",
        "list --status closed",
        "frobnicate",
    ],
)
def test_wrong_words_end_with_code_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse(words.split(), program="x")
    assert ending.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_dry_run_needs_no_reason_and_the_login_name_is_the_default() -> None:
    known = parse(["replay", "--all", "--dry-run"], program="x")
    assert ramp_of(known) == Ramp()
    assert order_by(parse(["discard", "--all", "--reason", "x", "--by", "operator"], program="x")) == "operator"


def test_a_canary_larger_than_the_usual_waves_is_taken() -> None:
    assert ramp_of(parse(["replay", "--all", "--reason", "x", "--canary", "2000"], program="x")).canary == 2000


def test_what_a_message_says_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\x07[red]"
    note = Note(at=NOON, action="replay", by=evil, reason=evil)
    letter = stored(note, reason=evil, key=evil, event_type=evil, properties={"claim": evil, evil: evil})
    groups: dict[str, Group] = {}
    grouped_into(groups, [to_row(DeadLetter(**{**PLAIN, "reason": evil}))], now=NOON)
    printed = [letters_table([letter]), letter_text(letter, evil.encode()), groups_table(list(groups.values()))]
    assert all("\x1b" not in text and "\x07" not in text for text in printed)
    assert all("[red]" in text for text in printed)


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_on_a_narrow_terminal_an_id_is_never_cut(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", columns)
    assert stored().id[:12] in letters_table([stored(reason="long " * 40, event_type="order.credited")])


def test_on_a_terminal_a_table_takes_no_orders_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "250")
    table = letters_table([stored(reason="\x1b[2J[red]", event_type="[link=x]")])
    assert "\x1b[2J" not in table
    assert "[red]" in table
    assert "[link=x]" in table
    assert stored().id[:12] in table


PLAIN: dict[str, Any] = {
    "identity": "1",
    "body": b"",
    "properties": {},
    "source": "events",
    "category": "invalid",
    "code": "MALFORMED_JSON",
    "reason": "x",
    "attempts": 1,
    "first_failure": NOON,
    "last_failure": NOON,
}


@given(st.binary(max_size=300))
def test_any_body_can_be_shown(body: bytes) -> None:
    letter_text(stored(body=body), body)


def test_a_deeply_nested_or_huge_body_can_be_shown() -> None:
    nested, huge = b"[" * 100_000, b"x" * 1_000_000
    assert letter_text(stored(body=nested), nested)
    shown = letter_text(stored(body=huge), huge)
    assert len(shown) < 30_000
    assert "--body FILE" in shown


def test_json_holds_what_programs_need() -> None:
    letter = letter_json(stored(Note(at=NOON, action="replay", by="operator", reason="x"), properties={"raw": b"\x00"}))
    json.dumps(letter)
    assert letter["history"] == [
        {"at": "2026-05-01T12:00:00.000Z", "action": "replay", "by": "operator", "reason": "x"}
    ]
    assert letter["lastFailure"] == "2026-05-01T12:00:00.000Z"
    groups: dict[str, Group] = {}
    grouped_into(groups, [to_row(DeadLetter(**PLAIN)), to_row(DeadLetter(**PLAIN)) | {"status": "discarded"}], now=NOON)
    (group,) = map(group_json, groups.values())
    assert (group["count"], group["open"]) == (2, 1)
    assert report_json(Report())["handedOver"] == 0


def test_every_command_of_the_page_is_understood(project: Path) -> None:
    page = (project / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python3 dev\.py dead-letters ([^#\n]+)", page, re.MULTILINE)
    found = [parse(shlex.split(line), program="x").command for line in lines]
    assert {*found} == {"groups", "list", "show", "replays", "edit", "replay", "archive", "restore", "discard"}


def test_a_stop_needs_a_reason_and_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["replay", "--stop"], ["replay", "--stop", "--dry-run"]):
        with pytest.raises(SystemExit):
            parse(words, program="x")
        assert "--reason is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # nothing would be stopped, or something would that nobody recorded
        parse(["replay", "--stop", "--dry-run", "--reason", "x"], program="x")
    assert "--stop and --dry-run" in capsys.readouterr().err
    assert parse(["replay", "--stop", "--reason", "x"], program="x").stop == "all"
    assert parse(["replay", "--stop", "run-1", "--reason", "x"], program="x").stop == "run-1"


def test_groups_show_their_trend_by_whatever_they_have_in_common() -> None:
    """Three in this hour, one five hours ago, one two days ago; a clock that is ahead counts as now."""
    groups: dict[str, Group] = {}
    ages = [timedelta(), timedelta(minutes=59), timedelta(minutes=-5), timedelta(hours=5), timedelta(days=2)]
    rows = [to_row(DeadLetter(**{**PLAIN, "last_failure": NOON - age})) for age in ages]
    grouped_into(groups, rows, now=NOON, by=group_by("category", Registry([])))
    (group,) = groups.values()
    assert (group.name, group.count) == ("invalid", 5)
    assert group.per_hour == [0] * 18 + [1, 0, 0, 0, 0, 3]
    assert trend(group.per_hour) == "·" * 18 + "▃····█"
    assert (group.first_failure, group.last_failure) == (NOON - timedelta(days=2), NOON + timedelta(minutes=5))
    assert trend(group.per_hour) in groups_table([group], by="category")
    assert group_json(group)["perHour"] == group.per_hour
    assert trend([]) == ""
    assert trend([0, 1_000_000, 1]) == "·█▁"


def test_a_replay_has_the_logical_id_and_a_broker_id_of_its_own() -> None:
    message = replay_message(
        stored(replays=3), Outgoing(b"body", stored(replays=3).properties), now=NOON + timedelta(hours=1)
    )
    assert message.message_id == "0b9c2a4e-0000-4000-8000-000000000001#r3"
    assert message.application_properties == {
        "attempt": 1,
        "firstAttemptAt": "2026-05-01T13:00:00+00:00",
        "replay": 3,
        "tenant": "blue",
    }
    assert message.session_id is None


@pytest.mark.parametrize("message_id", [None, "", "x" * 128, "#r1"])
def test_a_replay_of_a_message_without_a_usable_id_goes_under_its_letters_id(message_id: str | None) -> None:
    letter = stored(replays=1, message_id=message_id)
    message = replay_message(letter, Outgoing(b"", letter.properties), now=NOON)
    assert message.message_id == f"{letter.id}#r1"


def test_a_replay_of_a_replay_does_not_pile_up_numbers() -> None:
    assert replay_message(stored(replays=2, message_id="m#r1"), EMPTY, now=NOON).message_id == "m#r2"


def test_a_replay_on_the_ordered_lane_keeps_its_session() -> None:
    assert replay_message(stored(lane="ordered", key="k"), EMPTY, now=NOON).session_id == "k"
