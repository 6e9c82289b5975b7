"""How long a partner asks to wait: every form that partners say it in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.partners.retry_after import LONGEST_ASKED, remaining, retry_after
from tests.unit.shared.partners.world import NOW

EPOCH = NOW.timestamp()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "100000"}, LONGEST_ASKED),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 03:04:35 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "3", "retry-after-ms": "250"}, 3),
        ({"ratelimit": '"burst";r=0;t=30'}, 30),
        ({"ratelimit": '"burst";r=5;t=30'}, None),
        ({"ratelimit": '"burst";r=5;t=3, "daily";r=0;t=600'}, 600),
        ({"ratelimit": "burst;r=0;t=30"}, None),
        ({"retry-after": "10", "ratelimit": '"burst";r=0;t=30'}, 10),
        ({"ratelimit-reset": "7"}, 7),
        ({"x-ratelimit-reset": "7"}, 7),
        ({"x-ratelimit-reset": f"{EPOCH + 60:.0f}"}, 60),
        ({"x-ratelimit-reset": f"{(EPOCH + 60) * 1_000:.0f}"}, 60),
        ({"x-ratelimit-reset": f"{EPOCH - 60:.0f}"}, 0),
        ({"x-ratelimit-reset": "2026-01-02T03:05:05Z"}, 60),
        ({"x-ratelimit-reset": "2026-01-02T03:05:05"}, 60),
    ],
    ids=str,
)
def test_a_wait_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """Or it isn't, and the plan decides."""
    assert retry_after(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({}, None),
        ({"ratelimit": '"burst";r=50;t=30'}, 50),
        ({"ratelimit": '"burst";r=50;t=30,"daily";r=3'}, 3),
        ({"x-ratelimit-remaining": "0"}, 0),
        ({"ratelimit-remaining": "9"}, 9),
        ({"x-shopify-shop-api-call-limit": "32/40"}, 8),
        ({"x-shopify-shop-api-call-limit": "32"}, None),
        ({"x-ratelimit-remaining": "many"}, None),
    ],
    ids=str,
)
def test_what_is_left_is_understood(headers: dict[str, str], left: float | None) -> None:
    """The least of what is said counts."""
    assert remaining(headers) == left


NAMES = st.sampled_from(["retry-after", "retry-after-ms", "ratelimit", "x-ratelimit-reset", "ratelimit-remaining"])


@given(st.dictionaries(NAMES, st.text(max_size=40) | st.from_regex(r'"a";r=-?[0-9.]+;t=[^,]{0,9},?')))
def test_nothing_that_is_said_breaks_it(headers: dict[str, str]) -> None:
    """Whatever a header holds, the answer is a wait of 0 to an hour, or none."""
    wait, left = retry_after(headers, now=NOW), remaining(headers)
    assert wait is None or 0 <= wait <= LONGEST_ASKED
    assert left is None or left >= 0


def test_a_header_of_semicolons_costs_no_more_than_its_length() -> None:
    """It once took twice as long with each of them, on the loop that everybody shares."""
    headers = {"ratelimit": '"a"' + ";" * 1_000 + '"'}
    assert retry_after(headers, now=NOW) is None
    assert remaining(headers) is None


@pytest.mark.parametrize("name", ["retry-after", "ratelimit-reset", "ratelimit"])
def test_a_header_without_end_says_nothing(name: str) -> None:
    """1,024 characters are read."""
    value = '"a";r=0;t=7' if name == "ratelimit" else "7"
    assert retry_after({name: value.ljust(1_024)}, now=NOW) == 7
    assert retry_after({name: value.ljust(1_025)}, now=NOW) is None
    assert remaining({"ratelimit": value.ljust(1_025)}) is None
