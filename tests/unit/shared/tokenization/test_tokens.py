"""Tokens: always the same, never telling, and found again after a rotation."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tokenization import TokenKeys, Tokens
from tests.unit.shared.encryption.vault import World

TOKENS = Tokens([b"a" * 32])


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_value_has_one_token_and_no_other_has_it(one: str, other: str) -> None:
    """Of a fixed form that goes into a row key."""
    token = TOKENS.token("customer", one)
    assert re.fullmatch("tok_[a-z2-7]{26}", token)
    assert token == Tokens([b"a" * 32]).token("customer", one)
    assert (token == TOKENS.token("customer", other)) == (one == other)


def test_kinds_have_nothing_in_common() -> None:
    """Nor can a kind's end pass for a value's beginning."""
    assert len({TOKENS.token(kind, value) for kind, value in (("ab", "c"), ("a", "bc"), ("", "abc"))}) == 3


def test_another_key_makes_another_token() -> None:
    """And no key is short."""
    assert Tokens([b"b" * 32]).token("customer", "1") != TOKENS.token("customer", "1")
    for keys in ([], [b"short"], [b"a" * 32, b"short"]):
        with pytest.raises(ValueError, match="32 bytes"):
            Tokens(keys)


@given(st.text(max_size=40))
def test_a_format_is_kept_where_it_is_asked_for(value: str) -> None:
    """Length, classes of characters, and whatever isn't letter or digit."""
    token = TOKENS.token("card", value, keep_format=True)
    assert len(token) == len(value)
    for before, after in zip(value, token, strict=True):
        if re.fullmatch("[0-9]", before):
            assert re.fullmatch("[0-9]", after)
        elif re.fullmatch("[a-z]", before):
            assert re.fullmatch("[a-z]", after)
        elif re.fullmatch("[A-Z]", before):
            assert re.fullmatch("[A-Z]", after)
        else:
            assert after == before


def test_a_kept_format_collides_as_often_as_stated() -> None:
    """About 71% for 500 values of five digits; sixty sets of 500 are within 20% of that."""
    collided = 0
    for trial in range(60):
        tokens = Tokens([bytes([trial]) * 32])
        collided += len({tokens.token("id", f"{number:05d}", keep_format=True) for number in range(500)}) < 500
    assert 0.5 < collided / 60 < 0.92


async def test_a_rotated_key_finds_what_was_written_before() -> None:
    """Current first, then previous."""
    world = World()
    keys = TokenKeys(world.secrets, "token-key")
    assert keys.peek() is None
    old = (await keys.tokens()).token("customer", "17850")
    world.secrets.rotate("token-key", "n" * 40)
    tokens = await keys.tokens()
    assert tokens.candidates("customer", "17850") == (tokens.token("customer", "17850"), old)
    assert tokens.token("customer", "17850") != old
    assert keys.peek() is tokens


def test_nothing_of_a_key_is_shown() -> None:
    """Nor of a value."""
    assert repr(TOKENS) == "Tokens(1 keys)"
