"""A file of invoice lines is read as it is, or refused with the place where it is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from local.demo.rows import COLUMNS, InvoiceFileError, parse_rows, read_text

HEADER = ",".join(COLUMNS)
ROW = "536365,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def rows(text: str) -> list[dict[str, str]]:
    return [row.values for row in parse_rows(text, "orders.csv")]


@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.encode()])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, encode: object) -> None:
    """Spreadsheets write one."""
    assert callable(encode)
    file = tmp_path / "orders.csv"
    file.write_bytes(encode(f"{HEADER}\n{ROW}\n"))
    assert rows(read_text(file))[0]["InvoiceNo"] == "536365"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "utf-16"])
def test_text_survives_its_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(f"{HEADER}\n{ROW.replace('LANTERN', 'CAFÉ £')}\n".encode(encoding))
    assert rows(read_text(file))[0]["Description"] == "CAFÉ £"


def test_windows_writes_quotes_dashes_and_euros(tmp_path: Path) -> None:
    """Bytes that Latin-1 has control characters for."""
    file = tmp_path / "orders.csv"
    file.write_bytes(f"{HEADER}\n{ROW.replace('LANTERN', '“5 €” – Œuvre…')}\n".encode("cp1252"))
    assert rows(read_text(file))[0]["Description"] == "“5 €” – Œuvre…"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"{HEADER}\n{ROW}é\n".encode() + f"{ROW}é\n".encode("cp1252"), "UTF-8 in line 2 and isn't in line 3"),
        (f"{HEADER}\n{ROW}é\n".encode("cp1252") + f"{ROW}€\n".encode(), "UTF-8 in line 3 and isn't in line 2"),
        (b"\xef\xbb\xbf" + f"{HEADER}\n{ROW}é\n".encode("cp1252"), "line 2: the file is no UTF-8"),
        (f"{HEADER}\n{ROW}\n".encode() + b"\x81\n", "line 3: the file is neither UTF-8 nor Windows-1252"),
        (b"\xff\xfea", "line 1: the file is no UTF-16"),
    ],
)
def test_a_file_in_two_encodings_or_in_none_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """Whoever guesses puts other names into orders."""
    file = tmp_path / "orders.csv"
    file.write_bytes(content)
    with pytest.raises(InvoiceFileError, match=says):
        read_text(file)


def test_blank_lines_before_the_header_are_passed_over() -> None:
    """Exports leave some; lines are counted with them."""
    (row,) = parse_rows(f"\n \n,,,\n{HEADER}\n\n{ROW}\n", "orders.csv")
    assert (row.number, row.values["StockCode"]) == (6, "85123A")
    with pytest.raises(InvoiceFileError, match="line 3: the header has no column"):
        rows(f"\n\n{ROW}\n")


@pytest.mark.parametrize("again", ["Quantity", "quantity", " QUANTITY "])
def test_a_column_named_twice_is_refused(again: str) -> None:
    """Nobody knows which of the two counts; of columns that aren't read it doesn't matter."""
    with pytest.raises(InvoiceFileError, match="line 1: the header has the column Quantity more than once"):
        rows(f"{HEADER},{again}\n{ROW},7\n")
    assert rows(f"{HEADER},Note,Note\n{ROW},a,b\n")[0]["Quantity"] == "6"


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv"])
def test_gzip_is_told_by_content(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(f"{HEADER}\n{ROW}\n".encode()))
    assert len(rows(read_text(file))) == 1


def test_a_name_that_lies_about_gzip_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv.gz"
    file.write_text(f"{HEADER}\n{ROW}\n")
    with pytest.raises(InvoiceFileError, match="not a gzip file"):
        read_text(file)


@pytest.mark.parametrize("cut", [20, 60])
def test_a_cut_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "orders.csv.gz"
    file.write_bytes(gzip.compress(f"{HEADER}\n{ROW}\n".encode())[:cut])
    with pytest.raises(InvoiceFileError, match="damaged gzip"):
        read_text(file)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(InvoiceFileError, match=f"{path}.* cannot be read"):
            read_text(path)


@pytest.mark.parametrize("text", ["", "\n", " , ,\n"])
def test_an_empty_file_is_told_what_it_needs(text: str) -> None:
    with pytest.raises(InvoiceFileError, match=r"orders\.csv is empty: it needs a header with InvoiceNo"):
        rows(text)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvoiceFileError, match="line 1: the header has no column Quantity, Country"):
        rows(HEADER.replace("Quantity,", "").replace(",Country", "") + "\n")


def test_columns_are_found_by_name_among_others() -> None:
    """A file may have more columns, in any order and any case."""
    header = "Extra,country,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode, InvoiceNo "
    found = rows(f"{header}\nx,France,1,2.5,2010-12-01,3,THING,S1,42\n")[0]
    assert found == {
        "InvoiceNo": "42",
        "StockCode": "S1",
        "Description": "THING",
        "Quantity": "3",
        "InvoiceDate": "2010-12-01",
        "UnitPrice": "2.5",
        "CustomerID": "1",
        "Country": "France",
    }


def test_a_quoted_line_break_is_one_value_and_lines_are_counted_right() -> None:
    text = f'{HEADER}\n1,A,"two\nlines, one value",1,2010-12-01,1,,UK\n\n2,B,plain,1,2010-12-01,1,,UK\n'
    first, second = parse_rows(text, "orders.csv")
    assert first.values["Description"] == "two\nlines, one value"
    assert (first.number, second.number) == (2, 5)


def test_a_quote_that_never_closes_is_not_read_to_the_end_of_the_file() -> None:
    with pytest.raises(InvoiceFileError, match=r"orders\.csv, line \d+: a quote is opened and never closed"):
        rows(f'{HEADER}\n1,A,"never,1,2010-12-01,1,,UK\n{ROW}\n')


def test_a_record_without_an_invoice_number_is_refused_with_its_line() -> None:
    with pytest.raises(InvoiceFileError, match="line 3: InvoiceNo is empty"):
        rows(f"{HEADER}\n{ROW}\n ,85123A,LANTERN,6,2010-12-01,2.55,,UK\n")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("7,A,B,1,2010-12-01,1", "it has 6 values where the header has 8 (CustomerID, Country missing)"),
        ("7,A,B,C,1,2010-12-01,1,,UK", "it has 9 values where the header has 8"),
    ],
)
def test_a_record_of_another_width_is_marked_and_the_rest_is_read(row: str, problem: str) -> None:
    found = list(parse_rows(f"{HEADER}\n{row}\n{ROW}\n", "orders.csv"))
    assert [entry.problem for entry in found] == [problem, None]
    assert found[0].values["InvoiceNo"] == "7"
