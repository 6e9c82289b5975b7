"""A drill's orders."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from local.chaos.orders import drill_messages
from local.demo.invoices import group_invoices
from local.demo.rows import parse_rows
from local.demo.sample import sample_csv

INVOICES = group_invoices(parse_rows(sample_csv(40), "sample"))


def test_every_message_has_an_id_of_its_own_and_three_share_an_order() -> None:
    sound = len({message.number for message in drill_messages(INVOICES, 200, "1")})
    messages = drill_messages(INVOICES, 6 * 36, "1")
    assert len({message.message_id for message in messages}) == 6 * 36
    assert max(Counter(message.number for message in messages).values()) == 3
    assert sound < 200


def test_what_is_posted_carries_the_id_and_number_it_is_counted_under() -> None:
    for message in drill_messages(INVOICES, 100, "1"):
        body = json.loads(message.body)
        assert body["messageId"] == message.message_id
        assert message.number in (body["data"].get("orderId"), body["data"].get("creditNoteId"))


def test_the_same_drill_sends_the_same_messages() -> None:
    assert drill_messages(INVOICES, 50, "1") == drill_messages(INVOICES, 50, "1")


def test_nothing_to_send_is_an_error() -> None:
    with pytest.raises(ValueError, match="no invoice"):
        drill_messages([], 1, "1")
