"""The generated month looks like the measured one."""

from __future__ import annotations

from functools import cache

from local.demo.invoices import Invoice, compose, group_invoices
from local.demo.reconciliation import percentile
from local.demo.rows import parse_rows
from local.demo.sample import sample_csv


@cache
def sample() -> list[Invoice]:
    return group_invoices(parse_rows(sample_csv(), "sample"))


def orders() -> list[Invoice]:
    return [found for found in sample() if not found.is_credit_note and found.lines[0].quantity > 0]


def close(value: float, measured: float, share: float) -> bool:
    return abs(value - measured) <= share * measured


def test_the_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    assert sample_csv(50, seed=1) == sample_csv(50, seed=1)
    assert sample_csv(50, seed=1) != sample_csv(50, seed=2)


def test_every_invoice_can_be_read_and_is_one_of_its_kind() -> None:
    assert len(sample()) == 2_000
    assert [found.problem for found in sample() if found.problem] == []
    assert len({compose(found).message_id for found in sample()}) == 2_000


def test_kinds_of_invoices_have_their_measured_shares() -> None:
    credit_notes = [found for found in sample() if found.is_credit_note]
    corrections = [found for found in sample() if not found.is_credit_note and found.lines[0].quantity <= 0]
    assert (len(credit_notes), len(corrections), len(orders())) == (322, 69, 1_609)
    assert all(item.quantity < 0 for found in credit_notes for item in found.lines)
    assert all(len(found.lines) == 1 and found.customer_id is None for found in corrections)


def test_orders_have_their_measured_length_with_its_long_tail() -> None:
    lengths = sorted(len(found.lines) for found in orders())
    assert close(sum(lengths) / len(lengths), 25.6, 0.15)
    assert close(percentile(lengths, 0.5), 12, 0.15)
    assert close(percentile(lengths, 0.95), 67, 0.2)
    assert lengths[-1] > 400
    assert close(sum(length >= 100 for length in lengths), 46, 0.3)


def test_orders_have_their_measured_buyers() -> None:
    guests = sum(found.customer_id is None for found in orders())
    british = sum(found.country == "United Kingdom" for found in orders())
    assert close(guests / len(orders()), 229 / 1629, 0.15)
    assert close(british / len(orders()), 1517 / 1629, 0.03)


def test_lines_have_their_measured_prices_and_pieces() -> None:
    prices = sorted(float(item.unit_price) for found in orders() for item in found.lines)
    pieces = sorted(float(item.quantity) for found in orders() for item in found.lines)
    lengths = sorted(len(item.description or "") for found in orders() for item in found.lines)
    assert close(percentile(prices, 0.5), 2.55, 0.15)
    assert close(percentile(prices, 0.9), 8.47, 0.15)
    assert close(percentile(pieces, 0.5), 2, 0)
    assert close(percentile(pieces, 0.95), 24, 0.3)
    assert close(percentile(lengths, 0.5), 27, 0.1)


def test_some_payloads_are_too_large_for_the_queue() -> None:
    """24 of 1,955 were above the sample's claim-check threshold of 16 KiB."""
    large = sum(len(compose(found).body) > 16_384 for found in sample())
    assert 15 <= large <= 40
