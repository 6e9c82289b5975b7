"""Events as Debezium's documentation shows them, their values retyped: pages of the connectors, "Data change events".

Source: https://debezium.io/documentation/reference/stable/connectors/{postgresql,mysql,mariadb,sqlserver}.html, and
.../transformations/{outbox-event-router,event-flattening}.html.
"""

from typing import Any

ANNE = {"id": 1, "first_name": "Anne", "last_name": "Kretchmar", "email": "annek@noanswer.org"}
ANNE_MARIE = {**ANNE, "first_name": "Anne Marie"}
JOHN = {"id": 1005, "first_name": "john", "last_name": "doe", "email": "john.doe@example.org"}
JOHN_LATER = {**JOHN, "email": "noreply@example.org"}


def postgresql(
    op: str, *, before: Any = None, after: Any = None, lsn: int = 24023128, **more: Any
) -> dict[str, dict[str, Any]]:
    source = {
        "version": "3.6.0.Final",
        "connector": "postgresql",
        "name": "PostgreSQL_server",
        "ts_ms": 1559033904863,
        "ts_us": 1559033904863123,
        "ts_ns": 1559033904863123000,
        "snapshot": op == "r",
        "db": "postgres",
        "sequence": '["24023119","24023128"]',
        "schema": "public",
        "table": "customers",
        "txId": 555,
        "lsn": lsn,
        "xmin": None,
    }
    payload: dict[str, Any] = {"source": source, "op": op, "ts_ms": 1559033904961, **more}
    if op not in "tm":
        payload |= {"before": before, "after": after}
    if op == "m":
        source |= {"schema": "", "table": ""}
    return {"schema": {}, "payload": payload}


def mysql(
    op: str, *, before: Any = None, after: Any = None, connector: str = "mysql", pos: int = 484
) -> dict[str, Any]:
    source = {
        "version": "3.6.0.Final",
        "connector": connector,
        "name": f"{connector}-server-1",
        "ts_ms": 1465581029100,
        "ts_us": 1465581029100000,
        "ts_ns": 1465581029100000000,
        "snapshot": False,
        "db": "inventory",
        "table": "customers",
        "server_id": 223344,
        "gtid": None,
        "file": f"{connector}-bin.000003",
        "pos": pos,
        "row": 0,
        "thread": 7,
        "query": None,
    }
    return {"schema": {}, "payload": {"before": before, "after": after, "source": source, "op": op, "ts_ms": 0}}


def sql_server(op: str, change: str | None, commit: str, serial: str | None, **rows: Any) -> dict[str, Any]:
    source = {
        "version": "3.6.0.Final",
        "connector": "sqlserver",
        "name": "server1",
        "ts_ms": 1559729468470,
        "ts_us": 1559729468470000,
        "ts_ns": 1559729468470000000,
        "snapshot": False,
        "db": "testDB",
        "schema": "dbo",
        "table": "customers",
        "change_lsn": change,
        "commit_lsn": commit,
        "event_serial_no": serial,
    }
    payload = {"before": None, "after": None, **rows, "source": source, "op": op, "ts_ms": 1559729471739}
    return {"schema": {}, "payload": payload}


NO_CHANGES = {
    "heartbeat": {"ts_ms": 1559033904863},
    "heartbeat with schema": {"schema": {}, "payload": {"ts_ms": 1559033904863}},
    "begin": {"status": "BEGIN", "id": "571:53195829", "ts_ms": 1486500577125, "event_count": None},
    "end": {
        "status": "END",
        "id": "571:53195832",
        "ts_ms": 1486500577691,
        "event_count": 2,
        "data_collections": [{"data_collection": "s1.a", "event_count": 1}],
    },
    "schema change of MySQL": {
        "schema": {},
        "payload": {
            "source": {"connector": "mysql", "db": "inventory", "table": "customers", "file": "mysql-bin.000003"},
            "databaseName": "inventory",
            "schemaName": None,
            "ddl": "ALTER TABLE customers ADD middle_name varchar(255) AFTER first_name",
            "tableChanges": [{"type": "ALTER", "id": '"inventory"."customers"'}],
        },
    },
    "schema change of SQL Server": {
        "schema": {},
        "payload": {
            "source": {"connector": "sqlserver", "db": "testDB", "commit_lsn": "00000025:00000d98:00a2"},
            "databaseName": "testDB",
            "schemaName": "dbo",
            "ddl": None,
            "tableChanges": [{"type": "CREATE", "id": '"testDB"."dbo"."customers"'}],
        },
    },
    "notification": {
        "id": "ff81ba59-15ea-42ae-b5d0-4d74f1f4038f",
        "aggregate_type": "Capture Instance",
        "type": "COMPLETED",
        "additional_data": {"connector_name": "my-connector", "capture_instance": "dbo_customers"},
        "timestamp": "1695817046353",
    },
    "tombstone in its schema": {"schema": None, "payload": None},
}
