"""The Table service's formats: an entity as JSON, and an entity-group transaction as one multipart request.

Types as in "Payload format for Table service operations": JSON itself carries text, booleans and 32-bit integers, any
other type is named beside its value. A transaction is as in "Performing entity group transactions"; it is written and
read by hand, because the SDK makes every part of it through Python's e-mail package: three quarters of a worker's
processor time.
"""

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from azure.core.exceptions import HttpResponseError

from .table import Create, Delete, Entity, Operation, Replace, Upsert

__all__ = [
    "TransactionFailed",
    "body",
    "check",
    "decode",
    "decode_all",
    "encode",
    "entity_path",
    "failure",
    "quoted",
    "require_one_partition",
]

_PART = re.compile(rb"(?:^|\r?\n)HTTP/1\.1 (\d{3})\b[^\r\n]*\r?\n((?:[^\r\n]+\r?\n)*)")
_ETAG = re.compile(rb"^etag:[ \t]*([^\r\n]+?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LINE = "\r\n"


class TransactionFailed(HttpResponseError):
    """The service did none of a transaction's operations.

    Attributes
    ----------
    index:
        The operation that failed, where the service says which.
    error_code:
        The service's code, such as `EntityAlreadyExists`.
    """

    def __init__(self, status_code: int, error_code: str, message: str) -> None:
        super().__init__(f"{error_code or status_code}: {message}")
        self.status_code = status_code
        self.error_code = error_code
        number = message.partition(":")[0]
        self.index = int(number) if number.isdecimal() else None


def quoted(text: str) -> str:
    """A text as a literal of OData."""
    return "'" + text.replace("'", "''") + "'"


def entity_path(table: str, partition: str, row: str) -> str:
    """Where an entity lies, below the account's address; any key is quoted."""
    return f"/{table}(PartitionKey='{_in_path(partition)}',RowKey='{_in_path(row)}')"


def _in_path(key: str) -> str:
    return quote(key.replace("'", "''"), safe="")


def body(account: str, table: str, operations: Sequence[Operation], boundary: str) -> bytes:
    """The request's body; its content type is `multipart/mixed; boundary=batch_<boundary>`."""
    parts = [f"--batch_{boundary}{_LINE}Content-Type: multipart/mixed; boundary=changeset_{boundary}{_LINE * 2}"]
    frame = f"--changeset_{boundary}{_LINE}Content-Type: application/http{_LINE}Content-Transfer-Encoding: binary"
    parts += [f"{frame}{_LINE * 2}{_request(account, table, operation)}" for operation in operations]
    parts.append(f"--changeset_{boundary}--{_LINE * 2}--batch_{boundary}--{_LINE}")
    return "".join(parts).encode()


def require_one_partition(operations: Sequence[Operation]) -> None:
    """Raise TransactionFailed for rows of several partitions: Azure does, the local one would do half of it."""
    if len({operation.row["PartitionKey"] for operation in operations}) > 1:
        raise TransactionFailed(400, "CommandsInBatchActOnDifferentPartitions", "rows of several partitions")


def _request(account: str, table: str, operation: Operation) -> str:
    row = operation.row
    if isinstance(operation, Create):
        return _written(f"POST {account}/{table}", ["Prefer: return-no-content"], row)
    place = account + entity_path(table, row["PartitionKey"], row["RowKey"])
    match operation:
        case Upsert():
            return _written(f"PUT {place}", [], row)
        case Replace(etag=etag):
            return _written(f"PUT {place}", [_if_match(etag)], row)
        case Delete(etag=etag):
            head = [f"DELETE {place} HTTP/1.1", "Accept: application/json;odata=minimalmetadata"]
            return _LINE.join([*head, "If-Match: *" if etag is None else _if_match(etag), "", "", ""])
    raise TypeError(f"{operation!r}: a transaction creates, replaces or deletes rows")


def _written(line: str, headers: Sequence[str], row: Mapping[str, Any]) -> str:
    text = encode(row)
    head = [f"{line} HTTP/1.1", "Accept: application/json;odata=minimalmetadata", "Content-Type: application/json"]
    return _LINE.join([*head, *headers, f"Content-Length: {len(text)}", "DataServiceVersion: 3.0", "", text, ""])


def _if_match(etag: str | None) -> str:
    if not etag:
        raise ValueError("a row that must be unchanged needs its ETag")
    return f"If-Match: {etag}"


def check(answer: bytes, operations: int) -> list[str | None]:
    """The new ETag of each operation's row, where the service did all of them.

    Raises
    ------
    TransactionFailed
    """
    found = list(_PART.finditer(answer))
    for part in found:
        status = int(part.group(1))
        if not 200 <= status < 300:
            raise failure(status, answer[part.end() :])
    if len(found) != operations:
        raise TransactionFailed(502, "", f"the answer tells of {len(found)} operations, {operations} were asked for")
    etags = [_ETAG.search(part.group(2)) for part in found]
    return [None if etag is None else etag.group(1).decode("latin-1") for etag in etags]


def failure(status: int, answer: bytes) -> TransactionFailed:
    """What an answer's JSON says is wrong; whatever else it is, its status counts."""
    start, end = answer.find(b"{"), answer.rfind(b"}")
    try:
        error = json.loads(answer[start : end + 1])["odata.error"]
        return TransactionFailed(status, str(error["code"]), str(error["message"]["value"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return TransactionFailed(status, "", "the service gives no reason that can be read")


_TYPE = "@odata.type"
_INT32 = 2**31
_INT64 = 2**63
_MICROSECONDS = 26
"""Characters of a time up to its microseconds; the service writes tenths of them after that."""


def encode(columns: Mapping[str, Any]) -> str:
    """The columns as JSON; a column without a value is left out.

    Raises
    ------
    TypeError
        The service has no such type.
    """
    return json.dumps(dict(_encoded(columns)), separators=(",", ":"), allow_nan=False)


def _encoded(columns: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in columns.items():
        if isinstance(value, str):
            yield name, str(value)
        elif isinstance(value, bool) or (isinstance(value, int) and -_INT32 <= value < _INT32):
            yield name, value
        elif value is not None:
            kind, text = _typed(name, value)
            yield name, text
            yield name + _TYPE, kind


def _typed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return "Edm.Int64", str(value)
    if isinstance(value, datetime):
        return "Edm.DateTime", f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, bytes):
        return "Edm.Binary", base64.b64encode(value).decode()
    if isinstance(value, float):
        special = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return "Edm.Double", value if math.isfinite(value) else special
    if isinstance(value, UUID):
        return "Edm.Guid", str(value)
    raise TypeError(f"{name}: a table keeps no {type(value).__name__} like this one")


def decode(body: bytes | str) -> Entity:
    """The entity of a point read's answer; a naive time is UTC."""
    return _entity(json.loads(body))


def decode_all(body: bytes | str) -> list[Entity]:
    """The entities of a query's answer."""
    return [_entity(found) for found in json.loads(body)["value"]]


def _entity(answer: dict[str, Any]) -> Entity:
    etag = answer.get("odata.etag")
    columns = {
        name: _decoded(value, answer.get(name + _TYPE))
        for name, value in answer.items()
        if not name.startswith("odata.") and not name.endswith(_TYPE) and name != "Timestamp"
    }
    written = answer.get("Timestamp")
    return Entity(columns, etag, None if written is None else _decoded(written, "Edm.DateTime"))


def _decoded(value: Any, kind: str | None) -> Any:
    match kind:
        case "Edm.DateTime":
            return datetime.fromisoformat(value.removesuffix("Z")[:_MICROSECONDS]).replace(tzinfo=UTC)
        case "Edm.Binary":
            return base64.b64decode(value)
        case "Edm.Int64":
            return int(value)
        case "Edm.Double":
            return float(value)
        case "Edm.Guid":
            return UUID(value)
        case _:
            return value
