"""An entity-group transaction as one multipart request, and what its answer says.

The format is that of "Performing entity group transactions" (Azure Table storage). It is written and read by hand,
because the SDK makes every part of both through Python's e-mail package: three quarters of a worker's processor time.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import UpdateMode

from .entities import encode

__all__ = ["Operation", "TransactionFailed", "body", "check", "entity_path"]

Operation = tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], Mapping[str, Any]]

_PART = re.compile(rb"(?:^|\r?\n)HTTP/1\.1 (\d{3})\b[^\r\n]*\r?\n")
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


def entity_path(table: str, partition: str, row: str) -> str:
    """Where an entity lies, below the account's address; any key is quoted."""
    return f"/{table}(PartitionKey='{_quoted(partition)}',RowKey='{_quoted(row)}')"


def _quoted(key: str) -> str:
    return quote(key.replace("'", "''"), safe="")


def body(account: str, table: str, operations: Sequence[Operation], boundary: str) -> bytes:
    """The request's body; its content type is `multipart/mixed; boundary=batch_<boundary>`."""
    parts = [f"--batch_{boundary}{_LINE}Content-Type: multipart/mixed; boundary=changeset_{boundary}{_LINE * 2}"]
    frame = f"--changeset_{boundary}{_LINE}Content-Type: application/http{_LINE}Content-Transfer-Encoding: binary"
    parts += [f"{frame}{_LINE * 2}{_request(account, table, operation)}" for operation in operations]
    parts.append(f"--changeset_{boundary}--{_LINE * 2}--batch_{boundary}--{_LINE}")
    return "".join(parts).encode()


def _request(account: str, table: str, operation: Operation) -> str:
    kind, row = operation[0], operation[1]
    options = operation[2] if len(operation) == 3 else {}
    path = entity_path(table, row["PartitionKey"], row["RowKey"])
    match kind:
        case "create":
            return _written(f"POST {account}/{table}", ["Prefer: return-no-content"], row)
        case "upsert" | "update" if options.get("mode") is UpdateMode.REPLACE:
            match_etag = [] if kind == "upsert" else [_if_match(options)]
            return _written(f"PUT {account}{path}", match_etag, row)
        case "delete":
            head = [f"DELETE {account}{path} HTTP/1.1", "Accept: application/json;odata=minimalmetadata"]
            return _LINE.join([*head, _if_match(options), "", "", ""])
    raise ValueError(f"{kind}: a transaction creates, replaces or deletes rows")


def _written(line: str, headers: Sequence[str], row: Mapping[str, Any]) -> str:
    text = encode(row)
    head = [f"{line} HTTP/1.1", "Accept: application/json;odata=minimalmetadata", "Content-Type: application/json"]
    return _LINE.join([*head, *headers, f"Content-Length: {len(text)}", "DataServiceVersion: 3.0", "", text, ""])


def _if_match(options: Mapping[str, Any]) -> str:
    if options.get("match_condition") is MatchConditions.IfNotModified:
        if not options.get("etag"):
            raise ValueError("a row that must be unchanged needs its ETag")
        return f"If-Match: {options['etag']}"
    return "If-Match: *"


def check(answer: bytes, operations: int) -> None:
    """Return where the service did all operations.

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


def failure(status: int, answer: bytes) -> TransactionFailed:
    """What an answer's JSON says is wrong; whatever else it is, its status counts."""
    start, end = answer.find(b"{"), answer.rfind(b"}")
    try:
        error = json.loads(answer[start : end + 1])["odata.error"]
        return TransactionFailed(status, str(error["code"]), str(error["message"]["value"]))
    except (ValueError, LookupError, TypeError):
        return TransactionFailed(status, "", "the service gives no reason that can be read")
