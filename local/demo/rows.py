"""Reads a CSV file of invoice lines, plain or gzipped, and says exactly where it is wrong if it is."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COLUMNS", "InvoiceFileError", "Row", "parse_rows", "read_text"]

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

_GZIP_MAGIC = b"\x1f\x8b"
_MARKED = (
    ((b"\xff\xfe", b"\xfe\xff"), "utf-16", "no UTF-16, as its first bytes say it is"),
    ((b"\xef\xbb\xbf",), "utf-8-sig", "no UTF-8, as its first bytes say it is"),
)
_LONGEST_FIELD = 16 * 1024 * 1024


class InvoiceFileError(Exception):
    """The file as a whole cannot be read; the message names the file and, where there is one, the line."""


@dataclass(frozen=True)
class Row:
    """One record: the number of the line it begins on (the header's is 1) and its values by column.

    `problem` is set when it has not as many values as the header; only its invoice number counts then.
    """

    number: int
    values: dict[str, str]
    problem: str | None = None


def read_text(path: Path) -> str:
    """The text of a file: gzip is known by its content; UTF-8, UTF-16 with its mark, or Windows-1252.

    Raises
    ------
    InvoiceFileError
        If the file is missing, unreadable, named .gz without being gzip, or in no encoding or two.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvoiceFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if content.startswith(_GZIP_MAGIC):
        content = _decompress(content, path)
    elif path.suffix.lower() == ".gz":
        raise InvoiceFileError(f"{path} is not a gzip file, as its name says it is.")
    return _decode(content, path)


def parse_rows(text: str, name: str) -> Iterator[Row]:
    """The records below the header, columns found by their names; blank lines are passed over, before it too.

    Raises
    ------
    InvoiceFileError
        If the header lacks a column or has one twice, a quote is never closed, or a record has no invoice number.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [value.strip() for value in next((values for values in reader if any(map(str.strip, values))), [])]
        places = _places(header, name, reader.line_num)
        begins_on = reader.line_num + 1
        for values in reader:
            if any(map(str.strip, values)):
                yield _row(begins_on, values, places, len(header), name)
            begins_on = reader.line_num + 1
    except csv.Error as error:
        raise InvoiceFileError(f"{name}, line {reader.line_num}: {_csv_reason(error)}.") from error


def _row(number: int, values: list[str], places: dict[str, int], width: int, name: str) -> Row:
    found = {column: values[place] for column, place in places.items() if place < len(values)}
    if not found.get("InvoiceNo", "").strip():
        raise InvoiceFileError(f"{name}, line {number}: InvoiceNo is empty.")
    if len(values) == width:
        return Row(number, found)
    missing = [column for column in COLUMNS if column not in found]
    lacking = f" ({', '.join(missing)} missing)" if missing else ""
    return Row(number, found, f"it has {len(values)} values where the header has {width}{lacking}")


def _places(header: list[str], name: str, line: int) -> dict[str, int]:
    """Where each of our columns stands; columns that are not ours may be there too."""
    if not any(header):
        raise InvoiceFileError(f"{name} is empty: it needs a header with {', '.join(COLUMNS)}.")
    known = {title.lower(): place for place, title in enumerate(header)}
    missing = [column for column in COLUMNS if column.lower() not in known]
    if missing:
        raise InvoiceFileError(f"{name}, line {line}: the header has no column {', '.join(missing)}.")
    titles = [title.lower() for title in header]
    if twice := [column for column in COLUMNS if titles.count(column.lower()) > 1]:
        raise InvoiceFileError(f"{name}, line {line}: the header has the column {', '.join(twice)} more than once.")
    return {column: known[column.lower()] for column in COLUMNS}


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quote is opened and never closed"
    return str(error)


def _decompress(content: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InvoiceFileError(f"{path} is a damaged gzip file: {error}.") from error


def _decode(content: bytes, path: Path) -> str:
    """One encoding for all of it: by its mark, else UTF-8, else Windows-1252, the spreadsheets' own."""
    for marks, encoding, name in _MARKED:
        if content.startswith(marks):
            return _decoded(content, encoding, name, path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = error.start
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.isascii() and _is_utf_8(line):
            other = content.count(b"\n", 0, wrong) + 1
            raise InvoiceFileError(
                f"{path} is UTF-8 in line {number} and isn't in line {other}: save it in one encoding."
            )
    return _decoded(content, "cp1252", "neither UTF-8 nor Windows-1252", path)


def _decoded(content: bytes, encoding: str, name: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvoiceFileError(f"{path}, line {line}: the file is {name}.") from error


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
