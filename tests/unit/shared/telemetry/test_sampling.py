"""Who is sampled, what is kept all the same, and the flag that travels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from shared.telemetry import TRACING, begin, current_traceparent, keep_trace, span
from shared.telemetry.spans import LONGEST_TEXT, MOST_ATTRIBUTES, MOST_EVENTS, MOST_LINKS, MOST_WAITING
from tests.unit.traced import traced


def test_every_process_of_one_ratio_chooses_the_same_share() -> None:
    """By the trace's id alone."""
    ids = [(number * 0x9E3779B97F4A7C15) % 2**128 for number in range(1, 4_000)]
    with traced(ratio=0.1):
        chosen = [one for one in ids if TRACING.chooses(one)]
    with traced(ratio=0.1):
        assert chosen == [one for one in ids if TRACING.chooses(one)]
    assert 0.08 < len(chosen) / len(ids) < 0.12
    with traced(ratio=0):
        assert not any(TRACING.chooses(one) for one in ids)
    with traced(ratio=1):
        assert all(TRACING.chooses(one) for one in (*ids, 2**128 - 1))


def test_what_ends_well_is_not_exported() -> None:
    """With the flag that says so to whoever comes next."""
    with traced(ratio=0) as kept, span("one"), span("two"):
        flag = (current_traceparent() or "")[-2:]
    assert (kept.spans, flag) == ([], "00")


def test_an_error_brings_the_whole_journey_with_it() -> None:
    """Also what had ended before, and the flag of what is sent on from then on."""
    with traced(ratio=0) as kept, span("outer"):
        with span("before"):
            pass
        with pytest.raises(OSError, match="no"), span("failed"):
            raise OSError("no")
        assert (current_traceparent() or "")[-2:] == "01"
        with span("after"):
            pass
    assert [one.name for one in kept.spans] == ["before", "failed", "after", "outer"]


def test_a_trace_can_be_kept_on_purpose() -> None:
    """What is late, for example."""
    with traced(ratio=0) as kept, span("late"):
        keep_trace()
    assert [one.name for one in kept.spans] == ["late"]


@pytest.mark.parametrize(("kind", "exported"), [(SpanKind.SERVER, 0), (SpanKind.CONSUMER, 1)])
def test_a_caller_s_flag_decides_nothing(kind: SpanKind, exported: int) -> None:
    """That of a message, which this app wrote, does."""
    with traced(ratio=0) as kept, span("one", kind=kind, parent="00-" + "f" * 32 + "-" + "1" * 16 + "-01"):
        pass
    assert len(kept.spans) == exported


def test_a_span_is_bounded_whatever_it_is_given() -> None:
    """Attributes, texts, events, links, and the spans of a journey that wait."""
    with traced() as kept, span("one", attributes={"a": "x" * 10_000}) as one:
        for number in range(1_000):
            one.set_attribute(f"n{number}", number)
            one.add_event("e", {"x": "y" * 10_000})
            one.add_link(one.get_span_context())
    (found,) = kept.spans
    assert len(found.attributes) <= MOST_ATTRIBUTES + 1
    assert len(str(found.attributes["a"])) == LONGEST_TEXT
    assert (len(found.events), len(found.links)) == (MOST_EVENTS, MOST_LINKS)
    with traced(ratio=0) as kept, span("root"):
        for _ in range(MOST_WAITING + 50):
            begin("child").end()
        keep_trace()
    assert len(kept.spans) == MOST_WAITING + 1


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.{0,5})?"))
def test_any_traceparent_is_read_or_ignored(text: str) -> None:
    """Whoever sends it: a span has the sender's trace, or begins one."""
    with traced() as kept, span("one", parent=text):
        handed_on = current_traceparent() or ""
    (found,) = kept.spans
    assert len(handed_on) == 55
    assert found.parent_id == 0 or text[3:35] == f"{found.trace_id:032x}"
