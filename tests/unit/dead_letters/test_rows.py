"""Dead letters as table rows: whatever came fits, and comes back as it was where a replay needs it."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dead_letters import DeadLetter, Note, Status, stack_fingerprint, unread_identity
from shared.dead_letters.record import Edit
from shared.dead_letters.rows import edit_columns, failed_again, from_row, history_column, merged, to_row

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def letter(**changes: Any) -> DeadLetter:
    usual: dict[str, Any] = {
        "identity": "0b9c2a4e-0000-4000-8000-000000000001",
        "body": b'{"data": {}}',
        "properties": {"messageId": "0b9c2a4e-0000-4000-8000-000000000001", "attempt": 3},
        "source": "lane:high",
        "category": "invalid",
        "code": "VALIDATION_ERROR",
        "reason": "data.lines.3.quantity: must be more than 0",
        "attempts": 3,
        "first_failure": NOON,
        "last_failure": NOON + MINUTE,
        "position": {"sequenceNumber": 7},
    }
    return DeadLetter(**(usual | changes))


def columns_fit(row: dict[str, Any]) -> bool:
    """The limits of a table: 32 Ki characters of text, 64 KiB of binary, 1 MiB in all, times from 1601 on."""
    sizes = []
    for value in row.values():
        if isinstance(value, str):
            assert len(value.encode("utf-16-le")) <= 65_536
            sizes.append(2 * len(value))
        elif isinstance(value, bytes):
            assert len(value) <= 65_536
            sizes.append(len(value))
        elif isinstance(value, datetime):
            assert value >= datetime(1601, 1, 1, tzinfo=UTC)
        elif isinstance(value, int):
            assert -(2**31) <= value < 2**31
    return sum(sizes) < 1_000_000


any_value = st.one_of(st.text(), st.binary(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


@given(properties=st.dictionaries(st.text(), any_value))
def test_properties_come_back_as_they_were(properties: dict[str, Any]) -> None:
    assert from_row(to_row(letter(properties=properties))).properties == properties


@given(
    text=st.text(alphabet=st.characters(codec=None), max_size=50),  # lone surrogates too
    size=st.integers(1, 70_000),
    moment=st.datetimes(),
    attempts=st.integers(1, 2**40),
)
def test_whatever_a_stranger_sent_fits_a_row(text: str, size: int, moment: datetime, attempts: int) -> None:
    long = (text or "x") * (size // max(1, len(text)) + 1)
    row = to_row(
        letter(
            source=long,
            reason=long,
            message_id=long,
            event_type=long,
            key=long,
            traceparent=long,
            correlation_id=long,
            attempts=attempts,
            first_failure=moment,
            identity=long,
        )
    )
    assert columns_fit(row)
    json.dumps({name: str(value) for name, value in row.items()}).encode()
    assert from_row(row).first_failure <= from_row(row).last_failure


def test_the_most_properties_that_a_broker_takes_fit_a_row() -> None:
    """64 KiB of control characters are six times as much JSON."""
    properties = {"note": "\x01" * 65_000}
    row = to_row(letter(properties=properties))
    assert columns_fit(row)
    assert from_row(row).properties == properties


def test_a_row_says_lane_trace_and_claim() -> None:
    found = from_row(
        to_row(
            letter(
                properties={"claim": "a/b", "claimSha256": "b"},
                traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )
        )
    )
    assert (found.lane, found.claim, found.trace_id) == ("high", "a/b", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert found.status is Status.OPEN


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-short-x-01", None])
def test_a_malformed_traceparent_is_no_trace_id(traceparent: str | None) -> None:
    assert from_row(to_row(letter(traceparent=traceparent))).trace_id is None


def test_the_same_delivery_has_the_same_id_and_another_payload_another_one() -> None:
    first = letter()
    assert replace(first, last_failure=NOON + 5 * MINUTE, attempts=9).id == first.id
    assert replace(first, body=b"else").id != first.id
    assert replace(first, identity="other").id != first.id
    claimed = letter(body=b"", properties={"claimSha256": "aa"})
    assert claimed.id != letter(body=b"", properties={"claimSha256": "bb"}).id


def row_with(status: Status, *, notes: list[Note] | None = None) -> dict[str, Any]:
    return to_row(letter()) | {"status": status.value, "history": history_column(notes or []), "replays": 1}


def test_a_failure_that_comes_again_keeps_first_failure_and_history() -> None:
    note = Note(at=NOON, action="replay", by="operator", reason="fixed")
    again = to_row(
        letter(first_failure=NOON + 9 * MINUTE, last_failure=NOON + 10 * MINUTE, position={"sequenceNumber": 9})
    )
    found = from_row(merged(row_with(Status.REPLAYED, notes=[note]), again))
    assert (found.first_failure, found.last_failure, found.replays) == (NOON, NOON + 10 * MINUTE, 1)
    assert [entry.action for entry in found.history] == ["replay", "failed again"]
    assert found.status is Status.OPEN


@pytest.mark.parametrize("decided", [Status.REPLAYED, Status.DISCARDED])
def test_a_redelivery_of_the_same_copy_changes_no_decision(decided: Status) -> None:
    found = from_row(merged(row_with(decided), to_row(letter(last_failure=NOON + 3 * MINUTE))))
    assert (found.status, found.history) == (decided, ())


def test_a_redelivery_to_an_open_letter_is_no_news() -> None:
    found = from_row(merged(row_with(Status.OPEN), to_row(letter(position={"sequenceNumber": 8}))))
    assert (found.status, found.history) == (Status.OPEN, ())


def test_a_long_history_loses_its_oldest_notes_only() -> None:
    notes = [Note(at=NOON, action="replay", by="operator", reason=f"{number} " + "\x01" * 900) for number in range(300)]
    text = history_column(notes)
    assert len(text) <= 30_000
    assert json.loads(text)[-1]["reason"].startswith("299 ")


@given(st.text(alphabet=string.ascii_letters, max_size=8), st.integers(1, 99))
def test_a_replay_of_an_unreadable_message_has_the_identity_of_its_first_life(name: str, replay: int) -> None:
    assert unread_identity("low", name and f"{name}#r{replay}", 5) == unread_identity("low", name, 5)


def failing(depth: int, text: str) -> BaseException:
    try:
        if depth:
            raise failing(depth - 1, text)
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_fingerprint_says_where_not_what() -> None:
    assert stack_fingerprint(failing(0, "a")) == stack_fingerprint(failing(0, "b"))
    assert stack_fingerprint(failing(0, "a")) != stack_fingerprint(KeyError("a"))
    assert stack_fingerprint(None) is None


def test_letters_without_a_stack_are_grouped_by_code() -> None:
    expired, other = letter(code="MESSAGE_EXPIRED"), letter(code="DEAD_LETTERED")
    assert to_row(expired)["fingerprint"] != to_row(other)["fingerprint"]


def test_what_came_again_keeps_what_operators_made_of_it() -> None:
    """An edit, and the window of what is archived; another copy that failed opens it, edited as it is."""
    edit = Edit(number=2, message="f" * 32, properties={"claim": "c"}, blob="b", encrypted=True)
    known = {**to_row(letter()), **edit_columns(edit), "status": "archived", "archivedUntil": NOON, "edit": b"x"}
    again = from_row(merged(known, to_row(letter())))
    assert (again.edit, again.status, again.archived_until) == (edit, Status.ARCHIVED, NOON)
    assert merged(known, to_row(letter()))["edit"] == b"x"
    other = from_row(merged(known, to_row(letter(position={"sequenceNumber": 8}))))
    assert (other.edit, other.status, other.archived_until) == (edit, Status.OPEN, None)
    failed = failed_again(
        {**known, "status": "replaying"}, to_row(letter(code="TIMEOUT", position={"sequenceNumber": 9}))
    )
    assert (failed["code"], failed["status"], failed["edit"]) == ("TIMEOUT", "open", b"x")
