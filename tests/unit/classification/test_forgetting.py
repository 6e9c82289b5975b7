"""A person is found by whatever leads there, and taken out of a text without touching anything else of it."""

from __future__ import annotations

import json

import pytest

from shared.encryption import DataKey, encrypt_text
from shared.privacy import Person

ADA = Person(value="17850", tokens=("tok_new", "tok_old"), names=frozenset({"customerId", "customer_id"}))
KEY = DataKey("tok_old~ab", bytes(32))
OTHER = DataKey("tok_else~ab", bytes(32))


def sealed(text: str, key: DataKey = KEY) -> str:
    """An encrypted value."""
    return encrypt_text(key, json.dumps(text), aad=b"x")


@pytest.mark.parametrize(
    "text",
    [
        "%3AcustomerId:tok_new:1",
        json.dumps({"deep": [{"mail": sealed("a@b")}]}),
        json.dumps({"data": {"customerId": "17850"}}),
        json.dumps({"data": [{"customer_id": 17850}]}),
        '{"customerId": "17850"',
    ],
    ids=["an index key", "an encrypted value", "a field", "a field in a list, a number", "no whole JSON"],
)
def test_what_leads_to_a_person_is_found(text: str) -> None:
    """A token, the id of a key in an encrypted value, a field that names the person, a text that nobody can read."""
    assert ADA.is_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17850",
        json.dumps({"orderId": "17850", "lines": [17850]}),
        json.dumps({"customerId": "178501", "mail": sealed("17850", OTHER)}),
        "[" * 100_000,
        "slp1.17850",
    ],
)
def test_what_is_about_others_is_not(text: str) -> None:
    """The same digits elsewhere are no person."""
    assert not ADA.is_in(text)


def test_taking_a_person_out_keeps_everything_else_to_the_last_digit() -> None:
    """With the tokens of all fields that were the person's, and nobody else's."""
    mine, list_item, theirs = sealed("a@b"), sealed("call first"), sealed("c@d", OTHER)
    text = (
        f'{{"total":999999999999.1234567890,"customerId":"{sealed("17850")}","customerId$token":"tok_new",'
        f'"mail":"{mine}","mail$token":"38291","sku":"38291","notes":["{list_item}"],'
        f'"other":{{"mail":"{theirs}","mail$token":"tok_else"}}}}'
    )
    left = ADA.taken_out_of(text)
    assert not ADA.is_in(left)
    assert '"total":999999999999.1234567890,' in left
    parsed = json.loads(left)
    assert (parsed["sku"], parsed["mail$token"], parsed["customerId$token"]) == ("38291", None, None)
    assert parsed["other"] == {"mail": theirs, "mail$token": "tok_else"}
    assert mine not in left
    assert list_item not in left
    assert ADA.taken_out_of(left) == left
