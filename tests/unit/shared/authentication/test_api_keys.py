"""API keys: known by their hashes, several for a client, compared without telling how close a guess was."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any
from unittest.mock import patch

import pytest

from shared.authentication import ApiKeys, Authenticator, Caller, Role, Unauthenticated, api_key_entry

KEYS = [secrets.token_urlsafe(32) for _ in range(3)]


def keys(*entries: tuple[str, str, list[str]]) -> ApiKeys:
    """Parsed as the setting is."""
    return ApiKeys.parse(f"[{','.join(api_key_entry(client, key, roles) for client, key, roles in entries)}]")


TWO = [("shop", KEYS[0], ["producer"]), ("shop", KEYS[1], ["producer"]), ("desk", KEYS[2], ["reader", "operator"])]


def test_a_client_may_hold_two_keys() -> None:
    """So that one is changed for the other without a gap."""
    known = keys(*TWO)
    assert known.caller(KEYS[0]) == known.caller(KEYS[1]) == Caller("shop", frozenset({Role.PRODUCER}))
    assert known.caller(KEYS[2]).roles == {Role.READER, Role.OPERATOR}


def test_every_known_key_is_compared_in_constant_time() -> None:
    """Whichever it is, and where there is none: the same comparisons, each by `compare_digest`."""
    known = keys(*TWO)
    for key, holds in ((KEYS[0], True), (KEYS[2], True), (secrets.token_urlsafe(32), False)):
        with patch(
            "shared.authentication.api_keys.hmac.compare_digest", wraps=__import__("hmac").compare_digest
        ) as compared:
            try:
                known.caller(key)
                found = True
            except Unauthenticated:
                found = False
        assert found == holds
        assert compared.call_count == 3
        assert all(call.args[1] == hashlib.sha256(key.encode()).digest() for call in compared.call_args_list)


@pytest.mark.parametrize(
    "key",
    ["", "short", "x" * 257, "é" * 40, KEYS[0] + " ", KEYS[0].swapcase()],
    ids=["empty", "short", "long", "not-ascii", "blank-after", "other-case"],  # the keys are made anew in each process
)
def test_what_is_no_key_is_refused(key: str) -> None:
    """Whatever its form."""
    with pytest.raises(Unauthenticated):
        keys(*TWO).caller(key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSON"),
        ("{}", "list"),
        ("[1]", "entry 1"),
        ('[{"client": "a", "sha256": "00", "roles": ["producer"]}]', "entry 1: sha256"),
        (json.dumps([{"client": "", "sha256": "0" * 64, "roles": ["producer"]}]), "client"),
        (json.dumps([{"client": "a", "sha256": "0" * 64, "roles": []}]), "roles"),
        (json.dumps([{"client": "a", "sha256": "0" * 64, "roles": ["admin"]}]), "roles"),
        (json.dumps([{"client": "a", "sha256": "0" * 64, "roles": ["producer"], "key": "x"}]), "nothing else"),
        (json.dumps([{"client": "a", "sha256": "0" * 64, "roles": ["producer"]}] * 2), "entry 2"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_wrong_configuration_says_where(text: str, why: str) -> None:
    """By the number of the entry, never with its value."""
    with pytest.raises(ValueError, match=why):
        ApiKeys.parse(text)


def test_the_keys_are_not_in_the_repr() -> None:
    """Nor their hashes."""
    assert repr(keys(*TWO)) == "ApiKeys(3 keys)"


async def _keys() -> ApiKeys:
    return keys(*TWO)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Basic abc")],
        [("authorization", "Bearer x")],
        [("x-api-key", KEYS[0]), ("x-api-key", KEYS[0])],
        [("x-api-key", KEYS[0]), ("authorization", "Bearer x")],
        [("authorization", "Bearer x"), ("x-api-key", KEYS[0])],
        [("x-api-key", "\xff" * 40)],
    ],
)
async def test_one_credential_is_taken(headers: list[tuple[str, Any]]) -> None:
    """None, two, or one of another kind is refused: nobody has to guess which one counted."""
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    with pytest.raises(Unauthenticated):
        await Authenticator(None, _keys).caller(sent)


async def test_a_key_in_its_header_is_enough() -> None:
    """The client holds nothing else."""
    assert (await Authenticator(None, _keys).caller([(b"x-api-key", KEYS[2].encode())])).client == "desk"
