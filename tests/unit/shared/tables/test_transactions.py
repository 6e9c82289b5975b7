"""A transaction's request and answer, in the service's own format."""

from __future__ import annotations

import asyncio
import json
from email import message_from_bytes

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from hypothesis import given
from hypothesis import strategies as st

from shared.tables import TableSession, TransactionFailed
from shared.tables.transactions import Operation, body, check, entity_path

ACCOUNT = "https://account.table.core.windows.net"
GUARD = {"mode": UpdateMode.REPLACE, "etag": 'W/"1\'2"', "match_condition": MatchConditions.IfNotModified}


def row(key: str, **columns: object) -> dict[str, object]:
    """A row of one partition."""
    return {"PartitionKey": "0001", "RowKey": key, **columns}


def parts(content: bytes) -> list[tuple[str, dict[str, str], str]]:
    """The requests within a body, as a MIME library reads them: first line, headers, content."""
    head = b"Content-Type: multipart/mixed; boundary=batch_b\r\n\r\n"
    changeset = message_from_bytes(head + content).get_payload(0)
    found = []
    for part in changeset.get_payload():  # type: ignore[union-attr]
        assert part.get_content_type() == "application/http"  # type: ignore[union-attr]
        request = part.get_payload()  # type: ignore[union-attr]
        top, _, rest = str(request).replace("\r\n", "\n").partition("\n\n")
        first, *headers = top.split("\n")
        found.append((first, dict(line.split(": ", 1) for line in headers), rest.strip("\n")))
    return found


def test_each_operation_is_a_request_of_its_own() -> None:
    """Verb, place, guard and content."""
    operations: list[Operation] = [
        ("create", row("a", text="Größe")),
        ("upsert", row("b"), {"mode": UpdateMode.REPLACE}),
        ("update", row("c"), GUARD),
        ("delete", row("it's")),
        ("delete", row("d"), {"etag": 'W/"9"', "match_condition": MatchConditions.IfNotModified}),
    ]
    found = parts(body(ACCOUNT, "state", operations, "b"))
    place = f"{ACCOUNT}/state(PartitionKey='0001',RowKey="
    assert [first for first, _, _ in found] == [
        f"POST {ACCOUNT}/state HTTP/1.1",
        f"PUT {place}'b') HTTP/1.1",
        f"PUT {place}'c') HTTP/1.1",
        f"DELETE {place}'it%27%27s') HTTP/1.1",
        f"DELETE {place}'d') HTTP/1.1",
    ]
    assert [headers.get("If-Match") for _, headers, _ in found] == [None, None, 'W/"1\'2"', "*", 'W/"9"']
    assert json.loads(found[0][2])["text"] == "Größe"
    for _, headers, content in found[:3]:
        assert int(headers["Content-Length"]) == len(content)


@given(key=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_key_breaks_out_of_its_request(key: str) -> None:
    """Neither the frame nor the address."""
    path = entity_path("state", key, key)
    assert path.isascii()
    assert not set(path) & set('\r\n ?#"<>')
    operations: list[Operation] = [("create", row(key)), ("delete", row(key))]
    found = parts(body(ACCOUNT, "state", operations, "b"))
    assert json.loads(found[0][2])["RowKey"] == key
    assert len(found) == 2


@pytest.mark.parametrize(
    "operation",
    [
        ("merge", row("a")),
        ("update", row("a"), {"mode": UpdateMode.MERGE}),
        ("upsert", row("a")),
        ("create", row("a", x=[])),
    ],
)
def test_what_it_cant_do_it_refuses(operation: Operation) -> None:
    """Rather than do something else."""
    with pytest.raises((ValueError, TypeError)):
        body(ACCOUNT, "state", [operation], "b")


def test_a_guard_without_an_etag_is_refused() -> None:
    """It would guard nothing."""
    guard = {"mode": UpdateMode.REPLACE, "match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ValueError, match="ETag"):
        body(ACCOUNT, "state", [("update", row("a"), guard)], "b")


def answer(*statuses: int, error: str = "") -> bytes:
    """What the service says."""
    part = "--changesetresponse_x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {} Some Reason\r\n{}\r\n\r\n{}"
    return "".join(part.format(status, "DataServiceVersion: 3.0;", error) for status in statuses).encode()


def test_all_done_is_all_done() -> None:
    """One status for each operation."""
    check(answer(204, 201, 204), 3)


@pytest.mark.parametrize("content", [b"", answer(204), answer(204, 204, 204), b"HTTP/1.1 teapot"])
def test_an_answer_that_tells_of_other_operations_is_no_success(content: bytes) -> None:
    """A proxy's page, or half an answer."""
    with pytest.raises(TransactionFailed):
        check(content, 2)


def test_a_failure_names_its_operation_and_code() -> None:
    """As the service tells it."""
    error = json.dumps({"odata.error": {"code": "EntityAlreadyExists", "message": {"value": "2:It is there.\nId:x"}}})
    with pytest.raises(TransactionFailed, match="It is there") as caught:
        check(answer(409, error=error), 5)
    assert (caught.value.status_code, caught.value.error_code, caught.value.index) == (409, "EntityAlreadyExists", 2)


@given(content=st.binary(max_size=300))
def test_no_answer_makes_it_stumble(content: bytes) -> None:
    """Whatever comes, it is a failure of the transaction."""
    with pytest.raises(TransactionFailed):
        check(content, 1)
    with pytest.raises(TransactionFailed):
        check(b"HTTP/1.1 500 Oops\r\n" + content, 1)


def test_the_signature_is_the_sdks() -> None:
    """Both sign the same request alike: the service checks it only where it is the real one."""
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.core.rest import HttpRequest
    from azure.data.tables._authentication import SharedKeyCredentialPolicy

    from shared.tables.session import _SharedKey

    credential = AzureNamedKeyCredential("account", "a2V5")
    headers = {"x-ms-date": "Fri, 02 Jan 2026 03:04:05 GMT", "Content-Type": "multipart/mixed; boundary=batch_b"}
    signed = []
    theirs = SharedKeyCredentialPolicy(credential)  # type: ignore[no-untyped-call]
    for policy in (_SharedKey(credential), theirs):
        url = ACCOUNT + entity_path("state", "0001", "a b/it's:ü")
        request = HttpRequest("POST", url, headers=dict(headers), content=b"x")
        policy.on_request(PipelineRequest(request, PipelineContext(AioHttpTransport())))
        signed.append(request.headers["Authorization"])
    assert signed[0] == signed[1]


async def test_where_nobody_listens_the_callers_time_limit_ends_the_tries() -> None:
    """An error of the network stays one."""
    key = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a"
    table = TableClient.from_connection_string(key, "state")
    session = TableSession(table)
    try:
        with pytest.raises((HttpResponseError, TimeoutError, OSError)):
            async with asyncio.timeout(0.2):
                await session.get("0001", "r")
    finally:
        await session.close()
        await table.close()
