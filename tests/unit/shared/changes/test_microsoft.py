"""Changes of Azure SQL, SQL Server and Cosmos DB, as Microsoft's documentation shows them.

Source: https://learn.microsoft.com/sql/relational-databases/track-changes/change-event-streaming/message-format,
.../system-tables/cdc-capture-instance-ct-transact-sql, and https://learn.microsoft.com/azure/cosmos-db/change-feed-modes.
"""

import json
from typing import Any

import pytest

from shared.changes import (
    CapturedChange,
    ChangesLost,
    Operation,
    Origin,
    UnreadableChange,
    read_change_table,
    read_changes,
)

NIKOLA = {"Id": "8", "FirstName": "Nikola", "LastName": "Nikolic", "SignupDate": "2026-08-07 16:25:00.8833333"}
RENAMED = {**NIKOLA, "LastName": "Nikolic-Smith"}
READ = {"Id": 8, "FirstName": "Nikola", "LastName": "Nikolic", "SignupDate": "2026-08-07T16:25:00.883333Z"}


def streamed(operation: str, old: Any, current: Any, *, commit: str = "000000B1:000008A8:0007", **more: Any) -> Any:
    source = {
        "db": "EmployeesDb",
        "schema": "dbo",
        "tbl": "Employees",
        "cols": [
            {"name": "Id", "type": "int", "index": 0},
            {"name": "FirstName", "type": "nvarchar(50)", "index": 1},
            {"name": "LastName", "type": "nvarchar(50)", "index": 2},
            {"name": "SignupDate", "type": "datetime2(7)", "index": 3},
        ],
        "pkkey": [{"columnname": "Id", "value": "8"}],
        "transaction": {
            "commitlsn": commit,
            "beginlsn": "000000B1:000008A8:0003",
            "sequencenumber": 1,
            "finalevent": False,
            "committime": "2026-08-07T16:25:00.890Z",
        },
    }
    row = {"old": json.dumps(old), "current": json.dumps(current)}
    return {
        "specversion": "1.0",
        "type": "com.microsoft.SQL.CES.DML.V1",
        "source": "/",
        "id": "56cb8ff3-5c55-4f3b-a7f7-b044d1933ef6",
        "logicalid": "1bf2756a-c15f-4d2e-a2d5-7d3f9dbf85b0:000000B1000008A80007:00000000000000000001",
        "time": "2026-08-07T16:25:00.890Z",
        "datacontenttype": "application/json",
        "operation": operation,
        "segmentindex": 0,
        "finalsegment": True,
        "data": json.dumps({"eventsource": source, "eventrow": row}),
        **more,
    }


def read(document: Any, properties: dict[str, Any] | None = None) -> CapturedChange:
    (change,) = read_changes(document, properties or {}, lambda _: {})
    return change


def test_the_documented_events_of_change_event_streaming_read() -> None:
    inserted = read(streamed("INS", {}, NIKOLA))
    assert (inserted.operation, inserted.before, inserted.after) == (Operation.CREATE, None, READ)
    assert inserted.origin.tables[-2:] == ["dbo.Employees", "Employees"]
    updated = read(streamed("UPD", NIKOLA, RENAMED, commit="000000B1:00000930:0009"))
    assert updated.before == READ
    assert updated.after == {**READ, "LastName": "Nikolic-Smith"}
    deleted = read(streamed("DEL", RENAMED, {}, commit="000000B1:00000970:0008"))
    assert (deleted.operation, deleted.after, deleted.value_of(["Id"])) == (Operation.DELETE, None, "8")
    assert inserted.position < updated.position < deleted.position
    assert read(streamed("DEL", {}, {})).key == {"Id": 8}


def test_attributes_may_come_as_binary_headers() -> None:
    event = streamed("INS", {}, NIKOLA)
    data = json.loads(event.pop("data"))
    for prefix in ("ce_", "cloudEvents:"):
        headers = {f"{prefix}{name}": str(value).encode() for name, value in event.items()}
        assert read(data, headers) == read(streamed("INS", {}, NIKOLA))
    headers["cloudEvents:finalsegment"] = b"False"
    with pytest.raises(UnreadableChange, match="max_message_size_kb"):
        read(data, headers)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"finalsegment": False}, "max_message_size_kb"),
        ({"splittotalcnt": 3}, "max_message_size_kb"),
        ({"datacontenttype": "application/avro"}, "Avro"),
        ({"operation": "???"}, "isn't as"),
        ({"data": "{"}, "no JSON"),
        ({"data": "[]"}, "an object"),
        ({"data": "{}"}, "isn't as"),
    ],
    ids=range(7),
)
def test_what_is_not_whole_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(UnreadableChange, match=why):
        read({**streamed("INS", {}, NIKOLA), **wrong})


def row(start: int, sequence: int, operation: int, **columns: Any) -> dict[str, Any]:
    return {
        "__$start_lsn": f"0x0000002D00000B68{start:04X}",
        "__$seqval": f"0x0000002D00000B60{sequence:04X}",
        "__$operation": operation,
        "__$update_mask": "0x07",
        **columns,
    }


CUSTOMERS = Origin(connector="sqlserver", schema="dbo", table="customers")
ROWS = [
    row(3, 1, 2, id=1, name="a"),
    row(4, 1, 3, id=1, name="a"),
    row(4, 1, 4, id=1, name="b"),
    row(5, 1, 1, id=1, name="b"),
]


def test_rows_of_a_change_table_are_changes_in_their_order_and_an_update_is_one() -> None:
    changes = list(read_change_table(reversed(ROWS), CUSTOMERS))
    assert [(one.operation.value, one.before, one.after) for one in changes] == [
        ("c", None, {"id": 1, "name": "a"}),
        ("u", {"id": 1, "name": "a"}, {"id": 1, "name": "b"}),
        ("d", {"id": 1, "name": "b"}, None),
    ]
    assert [one.position for one in changes] == sorted(one.position for one in changes)
    assert list(read_changes(ROWS, {"table": b"dbo.customers"}, lambda _: {})) == changes
    with pytest.raises(UnreadableChange, match="property table"):
        read_changes(ROWS, {}, lambda _: {})


def test_reading_goes_on_after_a_number_and_a_gap_is_named() -> None:
    third = "0x0000002D00000B680003"
    assert [one.operation.value for one in read_change_table(ROWS, CUSTOMERS, after=third, oldest=third)] == ["u", "d"]
    with pytest.raises(ChangesLost, match="new snapshot"):
        list(read_change_table(ROWS, CUSTOMERS, after=third, oldest="0x0000002D00000B680004"))
    with pytest.raises(UnreadableChange, match="operation 5"):
        list(read_change_table([row(3, 1, 5)], CUSTOMERS))
    with pytest.raises(UnreadableChange, match="has no"):
        list(read_change_table([{"__$start_lsn": third}], CUSTOMERS))


SYSTEM = {"_rid": "r==", "_self": "dbs/", "_etag": '"0"', "_attachments": "attachments/", "_ts": 1689555410}


def test_documents_of_the_change_feed_in_latest_version_mode() -> None:
    change = read({"id": "1", "name": "a", **SYSTEM, "_lsn": 68}, {"container": "customers"})
    assert (change.operation, change.after) == (Operation.UPDATE, {"id": "1", "name": "a"})
    assert change.origin.tables == ["customers"]
    assert change.position < read({"id": "1", **SYSTEM, "_lsn": 100}).position


def test_documents_of_the_change_feed_with_all_versions_and_deletes() -> None:
    metadata = {"lsn": 68, "crts": 1689555410, "operationType": "replace", "previousImageLSN": 66}
    replaced = read({"current": {"id": "1", **SYSTEM}, "previous": {}, "metadata": metadata})
    assert (replaced.operation, replaced.before, replaced.after) == (Operation.UPDATE, None, {"id": "1"})
    gone = {"operationType": "delete", "lsn": 42, "crts": 1719235200, "id": "order-2001", "partitionKey": {"c": "c-3"}}
    deleted = read({"metadata": gone})
    assert (deleted.operation, deleted.after) == (Operation.DELETE, None)
    assert deleted.value_of(["id"]) == "order-2001"
    assert read({"current": {"id": "1"}, "metadata": {**metadata, "operationType": "create"}}).operation.value == "c"
    many = read_changes([{"metadata": gone}, {"id": "2", **SYSTEM}], {}, lambda _: {})
    assert [one.value_of(["id"]) for one in many] == ["order-2001", "2"]
    with pytest.raises(UnreadableChange, match="unknown"):
        read({"metadata": {**metadata, "operationType": "burn"}})
    with pytest.raises(UnreadableChange, match="no current"):
        read({"metadata": metadata})
