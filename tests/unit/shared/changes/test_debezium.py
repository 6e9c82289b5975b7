"""Debezium's events, as its documentation shows them."""

import base64
from typing import Any

import pytest

from shared.changes import CapturedChange, Operation, UnreadableChange, is_tombstone, position_text, read_changes

from .documented import ANNE, ANNE_MARIE, JOHN, JOHN_LATER, NO_CHANGES, mysql, postgresql, sql_server


def read(
    document: Any, properties: dict[str, Any] | None = None, types: dict[str, str] | None = None
) -> CapturedChange:
    (change,) = read_changes(document, properties or {}, lambda _: types or {})
    return change


def test_the_documented_events_of_postgresql_read() -> None:
    created = read(postgresql("c", after=ANNE))
    assert (created.operation, created.before, created.after) == (Operation.CREATE, None, ANNE)
    assert created.origin.tables == [
        "PostgreSQL_server.public.customers",
        "postgres.public.customers",
        "public.customers",
        "customers",
    ]
    assert created.time is not None
    assert created.time.isoformat() == "2019-05-28T08:58:24.863123+00:00"
    updated = read(postgresql("u", before={"id": 1}, after=ANNE_MARIE))
    assert (updated.before, updated.after) == ({"id": 1}, ANNE_MARIE)
    deleted = read(postgresql("d", before={"id": 1}, lsn=46523128))
    assert (deleted.operation, deleted.value_of(["id"])) == (Operation.DELETE, "1")
    assert created.position < deleted.position
    assert read(postgresql("r", after=ANNE)).operation is Operation.READ
    truncated = read(postgresql("t", lsn=46523128))
    assert (truncated.operation, truncated.before, truncated.after) == (Operation.TRUNCATE, None, None)


def test_changes_are_ordered_by_the_commits_of_their_transactions() -> None:
    def at(lsn: int, sequence: Any) -> str:
        event = postgresql("c", after=ANNE, lsn=lsn)
        event["payload"]["source"]["sequence"] = sequence
        return read(event).position

    assert at(200, '["250","200"]') < at(100, '["300","100"]') < at(110, '["300","110"]')
    assert at(200, '[null,"200"]') == at(200, None) == position_text(200, 200)
    with pytest.raises(UnreadableChange, match="no position"):
        at(200, '["x","200"]')


def test_so_are_those_of_oracle() -> None:
    def at(scn: str, committed: Any) -> str:
        event = postgresql("c", after=ANNE)
        event["payload"]["source"] = {"connector": "oracle", "table": "T", "scn": scn, "commit_scn": committed}
        return read(event).position

    assert at("200", "250") < at("100", "300")
    assert at("200", None) == position_text(200, 200)


def test_a_message_in_the_log_is_a_change_under_its_prefix() -> None:
    content = base64.b64encode(b'{"orderId":"O-1"}').decode()
    change = read(postgresql("m", message={"prefix": "outbox", "content": content}))
    assert (change.operation, change.origin.tables[-1], change.after) == (
        Operation.MESSAGE,
        "outbox",
        {"orderId": "O-1"},
    )
    with pytest.raises(UnreadableChange, match="foo holds no JSON"):
        read(postgresql("m", message={"prefix": "foo", "content": "Ymfy"}))


@pytest.mark.parametrize("connector", ["mysql", "mariadb"])
def test_the_documented_events_of_mysql_and_mariadb_read(connector: str) -> None:
    created = read(mysql("c", after=ANNE, connector=connector, pos=154))
    updated = read(mysql("u", before=ANNE, after=ANNE_MARIE, connector=connector))
    deleted = read(mysql("d", before=ANNE_MARIE, connector=connector, pos=805))
    assert (created.after, updated.before, deleted.before) == (ANNE, ANNE, ANNE_MARIE)
    assert created.origin.tables[1:] == ["inventory.customers", "customers"]
    assert created.position < updated.position < deleted.position
    assert read(mysql("t", connector=connector)).operation is Operation.TRUNCATE


def test_the_documented_events_of_sql_server_read() -> None:
    created = read(sql_server("c", "00000027:00000758:0003", "00000027:00000758:0005", "1", after=JOHN))
    updated = read(
        sql_server("u", "00000027:00000ac0:0002", "00000027:00000ac0:0007", "2", before=JOHN, after=JOHN_LATER)
    )
    deleted = read(sql_server("d", "00000027:00000db0:0005", "00000027:00000db0:0007", "1", before=JOHN_LATER))
    assert created.position < updated.position < deleted.position
    assert (updated.before, updated.after, deleted.after) == (JOHN, JOHN_LATER, None)
    assert read(sql_server("r", None, "00000025:00000d98:00a2", None, after=JOHN)).position < created.position


@pytest.mark.parametrize("what", NO_CHANGES)
def test_what_tells_of_no_row_is_no_change(what: str) -> None:
    assert read_changes(NO_CHANGES[what], {}, lambda _: {}) == []


@pytest.mark.parametrize("body", [b"", b" ", b"default", b'"default"', b"null"])
def test_tombstones_are_known_by_their_bodies(body: bytes) -> None:
    assert is_tombstone(body)
    assert not is_tombstone(b"{}")


def test_the_bare_envelope_is_the_same_change_with_the_same_id() -> None:
    wrapped = postgresql("c", after=ANNE)
    assert read(wrapped["payload"]) == read(wrapped)
    assert read(wrapped["payload"]).message_id == read(wrapped).message_id
    assert read(postgresql("c", after=ANNE, lsn=1)).message_id != read(wrapped).message_id


def test_rows_of_one_log_record_are_told_apart_by_the_transactions_count() -> None:
    first = postgresql("c", after=ANNE, transaction={"id": "555", "total_order": 1, "data_collection_order": 1})
    second = postgresql("c", after=ANNE, transaction={"id": "555", "total_order": 2, "data_collection_order": 2})
    assert read(first).message_id != read(second).message_id


def test_an_outbox_event_has_its_id_from_the_header_and_its_type_from_where_it_was_placed() -> None:
    order = {"id": 1, "lineItems": [{"id": 1, "item": "Debezium in Action"}], "customerId": 123}
    headers = {"id": b"4d47e190-0402-4048-bc2c-89dd54343cdc", "eventType": b"OrderCreated"}
    change = read(order, headers)
    assert (change.operation, change.origin.table, change.after) == (Operation.MESSAGE, "outbox.OrderCreated", order)
    assert change.message_id == read(order, headers).message_id
    enveloped = read({"payload": '{"id": 1}', "eventType": "OrderCreated"}, {"id": "4d47e190"})
    assert (enveloped.origin.table, enveloped.after) == ("outbox.OrderCreated", {"id": 1})
    assert read('{"id": 1}', headers).after == {"id": 1}
    with pytest.raises(UnreadableChange, match=r"additional\.placement"):
        read(order, {"id": "4d47e190"})


def test_a_flattened_row_says_its_table_and_operation_in_added_fields() -> None:
    row = {"id": 2, "name": "a"}
    added = {
        "__op": "c",
        "__table": "customers",
        "__schema": "public",
        "__lsn": "123456789",
        "__source_ts_ms": "123456",
    }
    change = read({**row, **added})
    assert (change.operation, change.after, change.origin.tables[0]) == (Operation.CREATE, row, "public.customers")
    assert change.position == position_text(123456789, 123456789)
    deleted = read({**row, **added, "__op": "d", "__deleted": "true"})
    assert (deleted.operation, deleted.before, deleted.after) == (Operation.DELETE, row, None)
    assert read(row, {"__table": b"customers"}).origin.table == "customers"
    with pytest.raises(UnreadableChange, match=r"add\.fields"):
        read(row)


@pytest.mark.parametrize(
    "placeholder",
    [
        "__debezium_unavailable_value",
        base64.b64encode(b"__debezium_unavailable_value").decode(),
        ["__debezium_unavailable_value"],
    ],
)
def test_a_value_that_was_not_sent_is_left_out_and_named_or_taken_from_before(placeholder: Any) -> None:
    change = read(postgresql("u", after={"id": 1, "note": placeholder}))
    assert (change.after, change.unavailable) == ({"id": 1}, ("note",))
    whole = read(postgresql("u", before={"id": 1, "note": "long"}, after={"id": 1, "note": placeholder}))
    assert (whole.after, whole.unavailable) == ({"id": 1, "note": "long"}, ())


def column(name: str | None, kind: str = "int64", **more: Any) -> dict[str, Any]:
    return {"field": "value", "type": kind, "name": name, "optional": True, **more}


VALUES = [
    (column("io.debezium.time.Date", "int32"), 17_000, "2016-07-18"),
    (column("org.apache.kafka.connect.data.Date", "int32"), -1, "1969-12-31"),
    (column("io.debezium.time.Time", "int32"), 36_000_500, "10:00:00.5"),
    (column("org.apache.kafka.connect.data.Time"), 0, "00:00:00"),
    (column("io.debezium.time.MicroTime"), 36_000_000_001, "10:00:00.000001"),
    (column("io.debezium.time.NanoTime"), 1, "00:00:00.000000001"),
    (column("io.debezium.time.Timestamp"), 1_529_507_596_945, "2018-06-20T15:13:16.945Z"),
    (column("org.apache.kafka.connect.data.Timestamp"), 0, "1970-01-01T00:00:00Z"),
    (column("io.debezium.time.MicroTimestamp"), 1_529_507_596_945_104, "2018-06-20T15:13:16.945104Z"),
    (column("io.debezium.time.MicroTimestamp"), -1, "1969-12-31T23:59:59.999999Z"),
    (column("io.debezium.time.NanoTimestamp"), 1_529_507_596_945_104_001, "2018-06-20T15:13:16.945104001Z"),
    (column("io.debezium.time.MicroTimestamp"), 9_223_371_331_200_000_000, 9_223_371_331_200_000_000),
    (column("io.debezium.time.ZonedTimestamp", "string"), "2018-06-20T13:37:03Z", "2018-06-20T13:37:03Z"),
    (column("io.debezium.time.ZonedTime", "string"), "13:37:03Z", "13:37:03Z"),
    (column("io.debezium.time.IsoDate", "string"), "2018-06-20Z", "2018-06-20"),
    (column("io.debezium.time.IsoTime", "string"), "13:37:03Z", "13:37:03"),
    (column("io.debezium.time.IsoTimestamp", "string"), "2018-06-20T13:37:03Z", "2018-06-20T13:37:03Z"),
    (column("io.debezium.time.Year", "int32"), 2018, 2018),
    (column("io.debezium.time.MicroDuration"), 1_500_000, "PT1.5S"),
    (column("io.debezium.time.MicroDuration"), -1_500_000, "-PT1.5S"),
    (column("io.debezium.time.Interval", "string"), "P1Y2M3DT4H5M6.78S", "P1Y2M3DT4H5M6.78S"),
    (column("io.debezium.time.StructuredDate", "struct"), {"year": 2018, "month": 6, "day": 20}, "2018-06-20"),
    (
        column("io.debezium.time.StructuredZonedTimestamp", "struct"),
        {"year": 2018, "month": 6, "day": 20, "hour": 1, "minute": 2, "second": 3, "nanos": 5, "offsetSeconds": -5400},
        "2018-06-20T01:02:03.000000005-01:30",
    ),
    (
        column("io.debezium.time.StructuredTimestamp", "struct"),
        {"year": 2018, "month": 6, "day": 20, "hour": 1, "minute": 2, "second": 3, "nanos": 0, "specialValue": None},
        "2018-06-20T01:02:03Z",
    ),
    (column("io.debezium.time.StructuredTimestamp", "struct"), {"specialValue": "POSITIVE_INFINITY"}, "infinity"),
    (column("io.debezium.time.StructuredDuration", "struct"), {"days": 2, "seconds": 1}, "P0Y0M2DT0H0M1S"),
    (column("org.apache.kafka.connect.data.Decimal", "bytes", parameters={"scale": "2"}), "AMhI", "512.72"),
    (column("org.apache.kafka.connect.data.Decimal", "bytes", parameters={"scale": "2"}), "/w==", "-0.01"),
    (column("org.apache.kafka.connect.data.Decimal", "bytes", parameters={"scale": "0"}), "AA==", "0"),
    (column("io.debezium.data.VariableScaleDecimal", "struct"), {"scale": 3, "value": "Aeg="}, "0.488"),
    (column(None, "string"), "512.72", "512.72"),
    (column(None, "double"), 512.72, 512.72),
    (column("io.debezium.data.Bits", "bytes", parameters={"length": "4"}), "BQ==", "0101"),
    (column("io.debezium.data.Json", "string"), '{"a": 1}', '{"a": 1}'),
    (column(None, "array", items={"type": "int32", "name": "io.debezium.time.Date"}), [0, None], ["1970-01-01", None]),
    (column(None, "map", values={"type": "string"}), {"a": "b"}, {"a": "b"}),
    (column(None, "bytes"), "AQID", "AQID"),
    (column("io.debezium.time.Date", "int32"), None, None),
]


@pytest.mark.parametrize(("schema", "value", "expected"), VALUES, ids=range(len(VALUES)))
def test_values_are_read_by_their_semantic_types(schema: dict[str, Any], value: Any, expected: Any) -> None:
    row = {"field": "after", "type": "struct", "fields": [schema]}
    document = postgresql("c", after={"value": value}) | {"schema": {"type": "struct", "fields": [row]}}
    assert read(document).after == {"value": expected}


def test_bare_events_are_read_by_the_types_that_were_declared() -> None:
    types = {"born": "io.debezium.time.Date", "balance": "org.apache.kafka.connect.data.Decimal:2"}
    document = postgresql("c", after={"id": 1, "born": 0, "balance": "AMhI"})["payload"]
    assert read(document, types=types).after == {"id": 1, "born": "1970-01-01", "balance": "512.72"}


@pytest.mark.parametrize(
    "document",
    [
        postgresql("x", after=ANNE),
        postgresql("c", after=7),
        postgresql("c", after=ANNE, lsn=-1),
        {"schema": {}, "payload": 7},
        postgresql("m"),
        sql_server("c", "nonsense", "00000027:00000758:0005", "1", after=JOHN),
        {"before": None, "after": ANNE, "op": "c", "source": {"file": 7}},
        [],
        [7],
        7,
    ],
    ids=range(10),
)
def test_what_cannot_be_read_is_refused_by_name(document: Any) -> None:
    with pytest.raises(UnreadableChange):
        read_changes(document, {}, lambda _: {})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (column("io.debezium.time.Date"), "x"),
        (column("io.debezium.time.Time"), -1),
        (column("org.apache.kafka.connect.data.Decimal", "bytes"), "AMhI"),
        (column("org.apache.kafka.connect.data.Decimal", "bytes", parameters={"scale": "99999999"}), "AMhI"),
        (column("org.apache.kafka.connect.data.Decimal", "bytes", parameters={"scale": "2"}), "!"),
        (column("io.debezium.time.StructuredDate", "struct"), {"year": 1}),
        (column(None, "array", items={"type": "int32"}), 7),
    ],
    ids=range(7),
)
def test_a_value_that_is_not_what_its_type_says_is_refused(schema: dict[str, Any], value: Any) -> None:
    row = {"field": "after", "type": "struct", "fields": [schema]}
    with pytest.raises(UnreadableChange, match="isn't what its type"):
        read(postgresql("c", after={"value": value}) | {"schema": {"type": "struct", "fields": [row]}})
