"""Lines become invoices, and invoices become messages that are the same whenever they are made."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.invoices import Invoice, compose, group_invoices, read_invoices
from local.demo.rows import COLUMNS, InvoiceFileError, Row, parse_rows

HEADER = ",".join(COLUMNS)


def invoices(*lines: str) -> list[Invoice]:
    return group_invoices(parse_rows("\n".join([HEADER, *lines, ""]), "orders.csv"))


def line(**values: str) -> str:
    usual = {
        "InvoiceNo": "536365",
        "StockCode": "85123A",
        "Description": "LANTERN",
        "Quantity": "6",
        "InvoiceDate": "2010-12-01 08:26:00",
        "UnitPrice": "2.55",
        "CustomerID": "17850.0",
        "Country": "United Kingdom",
    }
    return ",".join({**usual, **values}[column] for column in COLUMNS)


def data(invoice: Invoice) -> dict[str, object]:
    found = json.loads(compose(invoice).body, parse_float=str)["data"]
    assert isinstance(found, dict)
    return found


def test_lines_are_grouped_over_the_whole_file_in_the_order_of_first_appearance() -> None:
    found = invoices(line(InvoiceNo="2", StockCode="a"), line(InvoiceNo="1"), line(InvoiceNo="2", StockCode="b"))
    assert [(invoice.number, [item.sku for item in invoice.lines]) for invoice in found] == [
        ("2", ["a", "b"]),
        ("1", ["85123A"]),
    ]


def test_customer_country_and_time_are_those_of_the_first_line() -> None:
    (found,) = invoices(line(), line(CustomerID="1.0", Country="France", InvoiceDate="2011-01-01 00:00:00"))
    assert (found.customer_id, found.country) == ("17850", "United Kingdom")
    assert found.issued_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def test_an_order_is_posted_as_the_contract_has_it() -> None:
    (found,) = invoices(line(), line(Description="", Quantity="1", UnitPrice="0.0"))
    message = compose(found)
    envelope = json.loads(message.body)
    assert message.path == "/api/orders"
    assert envelope | {"messageId": ""} == {
        "messageId": "",
        "timestamp": "2010-12-01T08:26:00Z",
        "source": "invoice-replay",
        "eventType": "order.placed",
        "version": "1.0",
        "data": {
            "orderId": "536365",
            "placedAt": "2010-12-01T08:26:00Z",
            "customerId": "17850",
            "country": "United Kingdom",
            "lines": [
                {"sku": "85123A", "description": "LANTERN", "quantity": 6, "unitPrice": 2.55},
                {"sku": "85123A", "description": None, "quantity": 1, "unitPrice": 0.0},
            ],
        },
    }


def test_an_invoice_that_begins_with_c_is_a_credit_note() -> None:
    (found,) = invoices(line(InvoiceNo="C536379", Quantity="-1"))
    message = compose(found)
    assert message.path == "/api/credit-notes"
    assert json.loads(message.body)["eventType"] == "order.credited"
    assert data(found)["creditNoteId"] == "C536379"
    assert data(found)["creditedAt"] == "2010-12-01T08:26:00Z"


@pytest.mark.parametrize(
    ("written", "read"), [("17850.0", "17850"), ("17850", "17850"), ("", None), (" ", None), ("K-9", "K-9")]
)
def test_a_customer_is_a_number_that_lost_its_form_or_a_guest(written: str, read: str | None) -> None:
    assert invoices(line(CustomerID=written))[0].customer_id == read


@pytest.mark.parametrize(
    "written",
    [
        "2010-12-01 08:26:00",
        "12/1/2010 8:26",
        "2010-12-01T08:26:00",
        "2010-12-01T09:26:00+01:00",
        "12/01/2010 08:26:00",
    ],
)
def test_a_time_is_read_as_utc(written: str) -> None:
    assert data(invoices(line(InvoiceDate=written))[0])["placedAt"] == "2010-12-01T08:26:00Z"


def test_dates_of_a_file_are_read_in_one_way() -> None:
    """One that has the day first says so of all; without one the month is first."""
    said = invoices(line(InvoiceDate="3/2/2011 8:26"), line(InvoiceNo="2", InvoiceDate="13/2/2011 8:26"))
    assert [one.issued_at for one in said] == [datetime(2011, 2, day, 8, 26, tzinfo=UTC) for day in (3, 13)]
    said = invoices(line(InvoiceDate="3/2/2011"), line(InvoiceNo="2", InvoiceDate="2011-02-13"))
    assert [one.issued_at for one in said] == [datetime(2011, 3, 2, tzinfo=UTC), datetime(2011, 2, 13, tzinfo=UTC)]


@pytest.mark.parametrize("same", ["536365", "2"])
def test_a_file_with_two_ways_of_dates_is_refused(same: str) -> None:
    """Naming a line of each; the one that contradicts may be a later line of an invoice."""
    with pytest.raises(InvoiceFileError, match=r"month first in line 3 \(2/13/2011\) and the day first in line 4"):
        invoices(
            line(InvoiceDate="3/2/2011"),
            line(InvoiceDate="2/13/2011"),
            line(InvoiceNo=same, InvoiceDate="13/2/2011 10:00"),
        )


@pytest.mark.parametrize("written", ["6", "6.0", "6.00", "+6", "6.", "6.0000"])
def test_a_quantity_that_went_through_a_float_is_whole(written: str) -> None:
    """Three zeros alone may be thousands."""
    assert invoices(line(Quantity=written))[0].lines[0].quantity == 6


@pytest.mark.parametrize(
    ("written", "sent"),
    [("2.55", "2.55"), ("2.10", "2.10"), ("0.0", "0.0"), ("-11062.06", "-11062.06"), ("1e1", "10"), (".5", "0.5")],
)
def test_money_is_sent_digit_for_digit(written: str, sent: str) -> None:
    """2.10 stays 2.10: no binary float ever stands between the file and the message."""
    (invoice,) = invoices(line(UnitPrice=written))
    assert invoice.problem is None
    assert f'"unitPrice":{sent}}}' in compose(invoice).body.decode()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("Quantity", "six", 'Quantity "six" is not a whole number'),
        ("Quantity", "1.5", 'Quantity "1.5" is not a whole number'),
        ("Quantity", "", 'Quantity "" is not a whole number'),
        ("Quantity", "9" * 5000, "is not a whole number"),
        ("Quantity", "1.000", 'Quantity "1.000" may be a thousand times as much'),
        ("Quantity", "-12.000", "may be a thousand times as much"),
        ("UnitPrice", "free", 'UnitPrice "free" is not a number'),
        ("UnitPrice", "NaN", 'UnitPrice "NaN" is not a number'),
        ("UnitPrice", "1e999999999", 'UnitPrice "1e999999999" is not a number'),
        ("InvoiceDate", "yesterday", 'InvoiceDate "yesterday" is not a date and time'),
        ("InvoiceDate", "20101201", 'InvoiceDate "20101201" is not a date and time'),
        ("InvoiceDate", "1291192000", "is not a date and time"),
        ("InvoiceDate", "2010-W48-3", "is not a date and time"),
        ("InvoiceDate", "13/13/2010", "is not a date and time"),
        ("InvoiceDate", "2010-02-30", 'InvoiceDate "2010-02-30" is not a date and time'),
        ("InvoiceDate", "0001-01-01T00:00:00+14:00", "is not a date and time"),
    ],
)
def test_a_value_that_cannot_be_read_stops_its_invoice_only(column: str, value: str, reason: str) -> None:
    bad, good = invoices(line(), line(**{column: value}), line(InvoiceNo="536366"))
    assert bad.problem is not None
    assert bad.problem.startswith("line 3 of the file, line 2 of the invoice: ")
    assert reason in bad.problem
    assert len(bad.problem) < 200
    assert good.problem is None


def test_a_record_of_another_width_stops_its_invoice_only() -> None:
    bad, good = invoices("7,A,B,1,2010-12-01,1", line())
    assert bad.problem == (
        "line 2 of the file, line 1 of the invoice: "
        "it has 6 values where the header has 8 (CustomerID, Country missing)"
    )
    assert good.problem is None


def test_the_same_content_gives_the_same_message_and_any_change_another() -> None:
    """What makes a second run over the same file suppress duplicates, and a corrected file go through."""
    first, again = invoices(line())[0], invoices(line())[0]
    assert compose(first) == compose(again)
    others = [
        invoices(line(Quantity="7"))[0],
        invoices(line(UnitPrice="2.550"))[0],
        invoices(line(InvoiceNo="536366"))[0],
        invoices(line(), line())[0],
    ]
    assert len({compose(invoice).message_id for invoice in [first, *others]}) == 5


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_message_that_is_json(sku: str, description: str, country: str) -> None:
    values = dict.fromkeys(COLUMNS, "1") | {"InvoiceDate": "2010-12-01", "StockCode": sku}
    row = Row(2, values | {"Description": description, "Country": country})
    (invoice,) = group_invoices([row])
    sent = data(invoice)
    assert sent["country"] == country.strip()
    assert sent["lines"] == [
        {
            "sku": sku.strip(),
            "description": description if description.strip() else None,
            "quantity": 1,
            "unitPrice": 1,
        }
    ]


def test_a_file_with_a_header_only_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(HEADER + "\n")
    with pytest.raises(InvoiceFileError, match="has a header and no invoice"):
        read_invoices(file)
