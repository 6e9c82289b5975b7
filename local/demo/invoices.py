"""Groups invoice lines into invoices and makes of each the message that the API takes."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path

from local.demo.rows import InvoiceFileError, Row, parse_rows, read_text

__all__ = ["Invoice", "Line", "Message", "compose", "group_invoices", "read_invoices"]

_SOURCE = "invoice-replay"
_MESSAGE_IDS = uuid.UUID("6f3f0f6e-6f0c-5c1c-9d0b-5d0f6c2a7a11")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
_WHOLE_NUMBER = re.compile(r"([+-]?\d{1,18})(\.0*)?", re.ASCII)
_LONGEST_PRICE = 40
_MONTH_FIRST, _DAY_FIRST = "%m/%d/%Y", "%d/%m/%Y"
_TIMES = (" %H:%M", " %H:%M:%S", "")
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_PERHAPS_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.000", re.ASCII)


@dataclass(frozen=True)
class Line:
    """One item of an invoice; `unit_price` is the file's own decimal text, a valid JSON number."""

    sku: str
    description: str | None
    quantity: int
    unit_price: str


@dataclass
class Invoice:
    """One invoice, its lines in the file's order.

    Customer, country and time (UTC) are those of its first line. `problem` says what makes it impossible to
    send: where in the file, which column, and why.
    """

    number: str
    customer_id: str | None
    country: str
    issued_at: datetime | None
    lines: list[Line] = field(default_factory=list)
    problem: str | None = None

    @property
    def is_credit_note(self) -> bool:
        """Whether it takes goods back."""
        return self.number.startswith("C")


@dataclass(frozen=True)
class Message:
    """What is posted for one invoice; the same invoice content always makes the same message."""

    message_id: str
    number: str
    is_credit_note: bool
    body: bytes

    @property
    def path(self) -> str:
        """Where the API takes it, below its address."""
        return "/api/credit-notes" if self.is_credit_note else "/api/orders"


def read_invoices(path: Path) -> list[Invoice]:
    """Every invoice of a CSV or CSV.gz file, in the order in which they first appear in it.

    Raises
    ------
    InvoiceFileError
        If the file cannot be read as such, or holds no invoice.
    """
    invoices = group_invoices(parse_rows(read_text(path), path.name))
    if not invoices:
        raise InvoiceFileError(f"{path.name} has a header and no invoice below it.")
    return invoices


def group_invoices(rows: Iterable[Row]) -> list[Invoice]:
    """Bring the lines of each invoice together, wherever in the file they stand.

    Raises
    ------
    InvoiceFileError
        If one date has the month first and another the day: then nobody knows how to read the others.
    """
    invoices: dict[str, Invoice] = {}
    dates = _Dates()
    issued: dict[str, str] = {}
    for row in rows:
        number = row.values["InvoiceNo"].strip()
        invoice = invoices.get(number)
        if invoice is None:
            invoice = invoices[number] = Invoice(number, None, "", None)
            _take_head(invoice, row)
        if row.problem is None:
            date = row.values["InvoiceDate"].strip()
            dates.see(date, row.number)
            issued.setdefault(number, date)
        _take_line(invoice, row)
    for number, date in issued.items():
        invoices[number].issued_at = dates.read(date)
    return list(invoices.values())


def compose(invoice: Invoice) -> Message:
    """The message for an invoice without a problem; prices stand in it digit for digit as in the file."""
    data = _data(invoice)
    content = hashlib.sha256(data.encode()).hexdigest()
    message_id = str(uuid.uuid5(_MESSAGE_IDS, f"{invoice.number}:{content}"))
    envelope = {
        "messageId": message_id,
        "timestamp": _instant(invoice),
        "source": _SOURCE,
        "eventType": "order.credited" if invoice.is_credit_note else "order.placed",
        "version": "1.0",
    }
    body = f'{_json(envelope)[:-1]},"data":{data}}}'.encode()
    return Message(message_id, invoice.number, invoice.is_credit_note, body)


def _take_head(invoice: Invoice, row: Row) -> None:
    if row.problem is not None:
        return
    customer = _WHOLE_NUMBER.fullmatch(row.values["CustomerID"].strip())
    # The file's customer ids went through a float column once: 17850.0.
    invoice.customer_id = customer[1] if customer else row.values["CustomerID"].strip() or None
    invoice.country = row.values["Country"].strip()


def _take_line(invoice: Invoice, row: Row) -> None:
    """Add the row as a line, or note why the invoice cannot be sent; the first reason stays."""
    place = len(invoice.lines) + 1
    problem = row.problem
    quantity = price = None
    if problem is None:
        quantity = _quantity(row.values["Quantity"].strip())
        price = _price(row.values["UnitPrice"].strip())
        problem = _unreadable(row, quantity, price)
    if invoice.problem is None and problem is not None:
        invoice.problem = f"line {row.number} of the file, line {place} of the invoice: {problem}"
    description = row.values.get("Description", "")
    invoice.lines.append(
        Line(
            sku=row.values.get("StockCode", "").strip(),
            description=description if description.strip() else None,
            quantity=quantity or 0,
            unit_price=price or "0",
        )
    )


def _unreadable(row: Row, quantity: int | None, price: str | None) -> str | None:
    if _PERHAPS_THOUSANDS.fullmatch(row.values["Quantity"].strip()):
        return f"Quantity {_shown(row, 'Quantity')} may be a thousand times as much: write it without .000"
    if quantity is None:
        return f"Quantity {_shown(row, 'Quantity')} is not a whole number"
    if price is None:
        return f"UnitPrice {_shown(row, 'UnitPrice')} is not a number"
    if _readings(row.values["InvoiceDate"].strip()) == (None, None):
        return f"InvoiceDate {_shown(row, 'InvoiceDate')} is not a date and time"
    return None


def _shown(row: Row, column: str) -> str:
    value = row.values[column]
    return json.dumps(value if len(value) <= _LONGEST_PRICE else value[:_LONGEST_PRICE] + "…", ensure_ascii=False)


def _quantity(text: str) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def _price(text: str) -> str | None:
    if len(text) > _LONGEST_PRICE:
        return None
    if _JSON_NUMBER.fullmatch(text):
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    # An exponent can make few characters a number of any length.
    if not value.is_finite() or abs(value.adjusted()) > _LONGEST_PRICE or "_" in text:
        return None
    return format(value, "f")


class _Dates:
    """How a file's dates are read: all in one way."""

    def __init__(self) -> None:
        self._month_first = self._day_first = ""

    def see(self, text: str, line: int) -> None:
        """Learn from a date that can be read in one way only."""
        month_first, day_first = _readings(text)
        if month_first is None and day_first is not None:
            self._day_first = self._day_first or f"line {line} ({text})"
        elif day_first is None and month_first is not None:
            self._month_first = self._month_first or f"line {line} ({text})"
        if self._month_first and self._day_first:
            raise InvoiceFileError(
                f"InvoiceDate has the month first in {self._month_first} and the day first in {self._day_first}: "
                "write all dates in one way, best as 2026-01-31 08:26."
            )

    def read(self, text: str) -> datetime | None:
        """The point in time; None where it is no date. What nothing decides has the month first."""
        month_first, day_first = _readings(text)
        return day_first if self._day_first else month_first


@lru_cache(maxsize=65_536)
def _readings(text: str) -> tuple[datetime | None, datetime | None]:
    """A point in time, read with the month first and with the day first; without a zone it is UTC."""
    if _ISO.fullmatch(text):
        found = _parsed(datetime.fromisoformat, text)
        return found, found
    return _slashed(text, _MONTH_FIRST), _slashed(text, _DAY_FIRST)


def _slashed(text: str, day: str) -> datetime | None:
    found = (_parsed(datetime.strptime, text, day + time) for time in _TIMES)
    return next((instant for instant in found if instant is not None), None)


def _parsed(parse: Callable[..., datetime], *arguments: str) -> datetime | None:
    try:
        return _in_utc(parse(*arguments))
    except ValueError:
        return None


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _instant(invoice: Invoice) -> str:
    if invoice.issued_at is None:
        return ""
    return invoice.issued_at.replace(tzinfo=None).isoformat() + "Z"


def _data(invoice: Invoice) -> str:
    names = ("creditNoteId", "creditedAt") if invoice.is_credit_note else ("orderId", "placedAt")
    head = {
        names[0]: invoice.number,
        names[1]: _instant(invoice),
        "customerId": invoice.customer_id,
        "country": invoice.country,
        **_contact(invoice.customer_id),
    }
    return f'{_json(head)[:-1]},"lines":[{",".join(map(_line, invoice.lines))}]}}'


def _contact(customer: str | None) -> dict[str, str]:
    """Invented personal data for a part of the customers: the file has none."""
    if customer is None or not customer.isdecimal() or int(customer) % 4 != 1:
        return {}
    return {"name": f"Customer {customer}", "email": f"customer-{customer}@example.com"}


def _line(line: Line) -> str:
    return (
        f'{{"sku":{_json(line.sku)},"description":{_json(line.description)},'
        f'"quantity":{line.quantity},"unitPrice":{line.unit_price}}}'
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
