"""A transaction's request and answer, in the service's own format."""

from __future__ import annotations

import asyncio
import json
from email import message_from_bytes

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from hypothesis import given
from hypothesis import strategies as st

from shared.tables import Create, Delete, Operation, Replace, TransactionFailed, Upsert
from shared.tables.azure import AzureTable
from shared.tables.formats import body, check, entity_path

ACCOUNT = "https://account.table.core.windows.net"
GUARD = 'W/"1\'2"'


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
        Create(row("a", text="Größe")),
        Upsert(row("b")),
        Replace(row("c"), GUARD),
        Delete(row("it's")),
        Delete(row("d"), 'W/"9"'),
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
    operations: list[Operation] = [Create(row(key)), Delete(row(key))]
    found = parts(body(ACCOUNT, "state", operations, "b"))
    assert json.loads(found[0][2])["RowKey"] == key
    assert len(found) == 2


@pytest.mark.parametrize("operation", [("merge", row("a")), ("create", row("a")), Create(row("a", x=[]))])
def test_what_it_cant_do_it_refuses(operation: Operation) -> None:
    """Rather than do something else."""
    with pytest.raises((ValueError, TypeError, AttributeError)):
        body(ACCOUNT, "state", [operation], "b")


@pytest.mark.parametrize("etag", [None, ""])
def test_a_guard_without_an_etag_is_refused(etag: str | None) -> None:
    """It would guard nothing."""
    with pytest.raises(ValueError, match="ETag"):
        body(ACCOUNT, "state", [Replace(row("a"), etag)], "b")


def answer(*statuses: int, error: str = "") -> bytes:
    """What the service says."""
    part = "--changesetresponse_x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {} Some Reason\r\n{}\r\n\r\n{}"
    return "".join(part.format(status, "DataServiceVersion: 3.0;", error) for status in statuses).encode()


def test_all_done_is_all_done() -> None:
    """One status for each operation, and the new version where the service gives one."""
    assert check(answer(204, 201, 204), 3) == [None] * 3
    part = "\r\n\r\nHTTP/1.1 204 No Content\r\nDataServiceVersion: 3.0;\r\nETag: W/\"datetime'{}'\"\r\n\r\n"
    told = check((part.format(1) + part.format(2)).encode() + answer(204), 3)
    assert told == ["W/\"datetime'1'\"", "W/\"datetime'2'\"", None]


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

    from shared.tables.azure import _SharedKey

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
    table = AzureTable.from_connection_string(key, "state")
    try:
        with pytest.raises((HttpResponseError, TimeoutError, OSError)):
            async with asyncio.timeout(0.2):
                await table.get("0001", "r")
    finally:
        await table.close()
