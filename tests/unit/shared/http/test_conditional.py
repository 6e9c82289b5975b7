"""Conditional requests as RFC 9110 has them, and what caches are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from shared.http.conditional import etag_of_body, max_age_of, precondition, reuse

OURS = etag_of_body(b"{}")
WRITTEN = datetime(2026, 1, 5, 8, 26, 0, 700_000, tzinfo=UTC)
THEN, AFTER = (f"Mon, 05 Jan 2026 08:26:{second} GMT" for second in ("00", "01"))
EARLIER = "Mon, 05 Jan 2026 08:25:59 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"If-None-Match": OURS}, 304),
        ({"If-None-Match": f"W/{OURS}"}, 304),
        ({"If-None-Match": f'"other", W/"more" , {OURS}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, None),
        ({"If-None-Match": ""}, None),
        ({"If-None-Match": OURS.strip('"')}, None),
        ({"If-None-Match": '"other"', "If-Modified-Since": AFTER}, None),
        ({"If-Modified-Since": THEN}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": "Monday, 05-Jan-26 08:26:00 GMT"}, 304),
        ({"If-Modified-Since": EARLIER}, None),
        ({"If-Modified-Since": "yesterday"}, None),
        ({"If-Modified-Since": "9" * 1_000}, None),
        ({"If-Match": OURS}, None),
        ({"If-Match": "*"}, None),
        ({"If-Match": f"W/{OURS}"}, 412),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": '"other"', "If-None-Match": OURS}, 412),
        ({"If-Match": OURS, "If-None-Match": OURS}, 304),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": THEN}, None),
    ],
)
def test_conditions(headers: dict[str, str], status: int | None) -> None:
    """In their order: If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since."""
    assert precondition("GET", Headers(headers), OURS, WRITTEN) == status


def test_a_time_that_is_not_known_decides_nothing() -> None:
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        assert precondition("GET", Headers({name: THEN}), OURS, None) is None


def test_what_changes_something_is_refused_where_it_was_there() -> None:
    assert precondition("PUT", Headers({"If-None-Match": "*"}), OURS, WRITTEN) == 412
    assert precondition("PUT", Headers({"If-Modified-Since": THEN}), OURS, WRITTEN) is None


@given(
    st.sampled_from(["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]), st.text(max_size=200)
)
def test_any_header_has_an_answer(name: str, value: str) -> None:
    """A condition may say anything."""
    headers = Headers(raw=[(name.lower().encode(), value.encode("utf-8", "surrogatepass"))])
    assert precondition("GET", headers, OURS, WRITTEN) in (None, 304, 412)


def test_an_etag_is_strong_and_of_its_body_alone() -> None:
    assert OURS == etag_of_body(b"{}") != etag_of_body(b"{ }")
    assert OURS.startswith('"')


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (None, None),
        ("no-cache", 0),
        ("no-store", 0),
        ("max-age=0", 0),
        ("private, max-age=20", 20),
        ('max-age="7"', 7),
        ("max-age=-1", None),
        ("x-max-age=3", None),
        ("s-maxage=3", None),
        ("max-age=20, no-cache", 0),
    ],
)
def test_how_old_the_caller_lets_it_be(asked: str | None, seconds: float | None) -> None:
    assert max_age_of(Headers({} if asked is None else {"Cache-Control": asked})) == seconds


def test_old_clients_say_pragma() -> None:
    assert max_age_of(Headers({"Pragma": "no-cache"})) == 0


def test_what_caches_are_told() -> None:
    """No shared cache keeps what is protected; every one distinguishes callers."""
    assert reuse(max_age=0, stale=9, private=False) == {
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, X-API-Key, Accept, Accept-Encoding",
    }
    assert reuse(max_age=30, stale=60, private=True, age=1.2) == {
        "Cache-Control": "private, max-age=30, stale-while-revalidate=60",
        "Vary": "Authorization, X-API-Key, Accept, Accept-Encoding",
        "Age": "2",
    }
    assert reuse(max_age=30, stale=0, private=False)["Cache-Control"] == "s-maxage=30, max-age=30"
