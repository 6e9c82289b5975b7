"""Rows of an answer in the formats that callers may ask for.

Each is written piece by piece, and each shows when it isn't whole: the connection breaks before the end that HTTP
knows; NDJSON has a last line `{"$error": …}` too, an Arrow stream lacks its end marker, and a Parquet file isn't begun
before it is whole.
"""

import base64
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from shared.query import Kind

from .columns import Column
from .engine import Rows

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Schema

__all__ = ["ARROW", "CSV", "ENCODERS", "FORMATS", "NDJSON", "PARQUET", "json_rows"]

NDJSON, CSV = "application/x-ndjson", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
Format = Callable[[Rows, Mapping[str, Column]], Iterator[bytes]]
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Ends an Arrow stream ("Arrow Columnar Format", "IPC Streaming Format")."""


def json_rows(batch: "RecordBatch", columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    """Rows as JSON has them: decimals and times are texts, what isn't a number is null, bytes are base64."""
    values = [_column(list(batch.column(name).to_pylist()), one.kind) for name, one in columns.items()]
    names = list(columns)
    for row in zip(*values, strict=True):
        yield dict(zip(names, row, strict=True))


def _column(values: list[Any], kind: Kind) -> list[Any]:
    match kind:
        case Kind.DECIMAL:
            return [None if one is None else f"{one:f}" for one in values]
        case Kind.MOMENT:
            return [None if one is None else _moment(one) for one in values]
        case Kind.DAY:
            return [None if one is None else one.isoformat() for one in values]
        case Kind.DOUBLE:
            return [one if one is None or math.isfinite(one) else None for one in values]
        case Kind.TEXT | Kind.INTEGER | Kind.BOOLEAN:
            return values
    return [_json(one) for one in values]


def _json(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_json(one) for one in value]
        case Mapping():
            return {str(name): _json(one) for name, one in value.items()}
    return value


def _moment(moment: datetime) -> str:
    """RFC 3339 in UTC, with as many digits of a second as it has; one without a zone stays without."""
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _ndjson(rows: Rows, columns: Mapping[str, Column]) -> Iterator[bytes]:
    for batch in rows:
        yield b"".join(to_json(row) + b"\n" for row in json_rows(batch, columns))


def _csv(rows: Rows, columns: Mapping[str, Column]) -> Iterator[bytes]:
    """RFC 4180 with names in the first line; null is nothing at all, an empty text two quotes.

    Readers skip an empty line: where there is one column alone, null is two quotes too.
    """
    yield _line(list(columns))
    for batch in rows:
        yield b"".join(_line(list(row.values())) for row in json_rows(batch, columns))


def _line(values: Sequence[Any]) -> bytes:
    return ((",".join(map(_cell, values)) or '""') + "\r\n").encode("utf-8", "replace")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            text = value
        case int() | float():
            return str(value)
        case _:
            text = to_json(value).decode()
    plain = text and text == text.strip() and not any(one in text for one in '",\r\n')
    return text if plain else '"' + text.replace('"', '""') + '"'


def _arrow(rows: Rows, columns: Mapping[str, Column]) -> Iterator[bytes]:
    """The schema's message, those of the batches, and the end; the library writes streams that are whole alone."""
    beginning = _stream_of(rows.schema)
    yield beginning
    for batch in rows:
        yield _stream_of(batch)[len(beginning) :]
    yield _END_OF_STREAM


def _stream_of(content: "RecordBatch | Schema") -> bytes:
    """Without its end."""
    from arro3.core import RecordBatch, Table
    from arro3.io import write_ipc_stream

    file = io.BytesIO()
    write_ipc_stream(content if isinstance(content, RecordBatch) else Table.from_batches([], schema=content), file)
    return file.getvalue().removesuffix(_END_OF_STREAM)


def _parquet(rows: Rows, columns: Mapping[str, Column]) -> Iterator[bytes]:
    """A file is written to the disk and sent when it is whole."""
    from arro3.core import RecordBatchReader
    from arro3.io import write_parquet

    failed: list[Exception] = []

    def batches() -> "Iterator[RecordBatch]":
        try:
            yield from rows
        except Exception as failure:  # the library would tell it in its own words
            failed.append(failure)
            raise

    with tempfile.TemporaryFile() as file:
        try:
            write_parquet(RecordBatchReader.from_batches(rows.schema, batches()), file, compression="zstd(1)")
        except Exception:
            if failed:
                raise failed[0] from None
            raise
        file.seek(0)
        while piece := file.read(1_048_576):
            yield piece


ENCODERS: Mapping[str, Format] = {NDJSON: _ndjson, CSV: _csv, ARROW: _arrow, PARQUET: _parquet}
"""By media type what writes it, in a thread."""
FORMATS: Mapping[str, str] = {"ndjson": NDJSON, "csv": CSV, "arrow": ARROW, "parquet": PARQUET, "json": ""}
"""What `format` may be; pages of JSON have no media type of their own here."""
