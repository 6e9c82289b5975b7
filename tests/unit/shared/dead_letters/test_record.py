"""Dead letters: their columns fit whatever they tell, and the same failure has the same fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.dead_letters import DeadLetter, stack_fingerprint
from shared.dead_letters.rows import to_row

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANYTHING = st.text(st.characters(), max_size=50).map(lambda text: text * 800)


@given(text=ANYTHING, properties=st.dictionaries(st.text(), st.text() | st.binary() | st.floats() | st.none()))
def test_columns_fit_an_entity(text: str, properties: dict[str, Any]) -> None:
    """Each within 64 KiB of UTF-16, together with the largest body within 1 MiB, and all of them encodable."""
    letter = DeadLetter(
        identity="i",
        body=b"",
        properties=properties | {"more": text},
        source=text,
        category=text,
        code=text,
        reason=text,
        attempts=1,
        first_failure=NOW,
        last_failure=NOW,
        message_id=text,
        event_type=text,
        key=text,
        correlation_id=text,
        traceparent=text,
        fingerprint=None,
    )
    sizes = [len(value.encode("utf-16-le")) for value in to_row(letter).values() if isinstance(value, str)]
    assert max(sizes) <= 65_536
    assert sum(sizes) <= 400_000


def test_what_no_utf8_can_say_groups_as_well() -> None:
    """A refusal's own code may hold half a character."""
    letter = DeadLetter(
        identity="\ud800",
        body=b"",
        properties={},
        source="lane:high",
        category="business",
        code="\ud800",
        reason="\ud800",
        attempts=1,
        first_failure=NOW,
        last_failure=NOW,
    )
    assert len(to_row(letter)["fingerprint"]) == 16


def failure(text: str, *, elsewhere: bool = False) -> BaseException:
    """An exception with a traceback."""
    try:
        if elsewhere:
            int("x")
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_fingerprint_depends_on_where_and_what_not_on_the_words() -> None:
    """So that a thousand dead letters of one cause are one group."""
    same = {stack_fingerprint(failure("one")), stack_fingerprint(failure("two"))}
    assert len(same) == 1
    assert stack_fingerprint(KeyError("one")) not in same
    assert stack_fingerprint(None) is None
