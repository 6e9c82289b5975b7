"""The adapter to Azure's Table service: the one place that knows its SDK and its protocol."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4
from wsgiref.handlers import format_date_time

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline import AsyncPipeline, PipelineRequest
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    AsyncRetryPolicy,
    AzureSasCredentialPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.data.tables.aio import TableClient

from shared.azure_clients import proxied
from shared.telemetry import Metrics

from .formats import (
    TransactionFailed,
    body,
    check,
    decode,
    decode_all,
    entity_path,
    failure,
    quoted,
    require_one_partition,
)
from .table import Condition, Conflict, Entity, Operation, Query, Rows, Table

__all__ = ["AzureTable"]

_KEYS = ("PartitionKey", "RowKey")
_OF_THE_TABLE = frozenset({"TableNotFound", "TableBeingDeleted"})
"""Codes of the answers 404 and 409 that don't tell of a row."""

_HEADERS = {
    "Accept": "application/json;odata=minimalmetadata",
    "DataServiceVersion": "3.0",
    "MaxDataServiceVersion": "3.0;NetFx",
}


class AzureTable(Table):
    """A table of Azure's Table service, or of whatever speaks its protocol: Azurite, Cosmos DB for Table.

    The SDK reads the connection string and nothing else: its own requests cost a multiple of these.

    Parameters
    ----------
    client:
        The SDK's client: its address and credential are used, its connections aren't.
    """

    def __init__(self, client: TableClient) -> None:
        from .transport import MeasuredTransport  # loaded with the first table

        address = urlsplit(client.url)
        self._account = f"{address.scheme}://{address.netloc}{address.path.rstrip('/')}"
        self._query = address.query
        self.name = client.table_name
        self._headers = _HEADERS | {"x-ms-version": client.api_version}
        # Retries lie outside, so that each try is signed for the moment at which it goes.
        policies = [UserAgentPolicy(), AsyncRetryPolicy(), *_credential(client.credential, address.netloc)]
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            MeasuredTransport(address.hostname or "", use_env_settings=proxied()), policies
        )

    @classmethod
    def from_connection_string(cls, connection_string: str, name: str) -> Self:
        """A table of the account that a connection string names."""
        return cls(TableClient.from_connection_string(connection_string, name))

    @classmethod
    def at(cls, endpoint: str, name: str, credential: Any = None) -> Self:
        """A table of the account at an address; without a credential the address has a shared access signature."""
        return cls(TableClient(endpoint, name, credential=credential))

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`; raises HttpResponseError."""
        parameters = {"$select": ",".join(select)} if select else {}
        answer = await self._send("GET", entity_path(self.name, partition, row), parameters)
        if answer.status == 200:
            return decode(answer.content)
        if answer.status == 404:
            return None
        raise failure(answer.status, answer.content)

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        """See `Table`; raises HttpResponseError."""
        parameters = {f"Next{name}": value for name, value in (start or {}).items()}
        if conditions := query.conditions():
            parameters["$filter"] = " and ".join(map(_odata, conditions))
        if query.select:
            parameters["$select"] = ",".join(query.select)
        if query.size is not None:
            parameters["$top"] = str(query.size)
        answer = await self._send("GET", f"/{self.name}()", parameters)
        if answer.status == 404:
            return Rows([], None)
        if answer.status != 200:
            raise failure(answer.status, answer.content)
        return Rows(decode_all(answer.content), answer.following or None)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`; where the connection broke, anything may have happened."""
        require_one_partition(operations)
        try:
            return await self._submit(operations)
        except TransactionFailed as error:
            if error.error_code == "TableNotFound":
                await self.ensure_created()
                return await self._submit(operations)
            raise

    async def _submit(self, operations: Sequence[Operation]) -> list[str | None]:
        boundary = str(uuid4())
        content = body(self._account, self.name, operations, boundary)
        kind = {"Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        answer = await self._send("POST", "/$batch", {}, kind, content)
        try:
            if answer.status != 202:
                raise failure(answer.status, answer.content)
            return check(answer.content, len(operations))
        except TransactionFailed as error:
            if error.status_code not in (404, 409, 412) or error.error_code in _OF_THE_TABLE:
                raise
            number = error.index
            known = number is not None and number < len(operations)
            raise Conflict(operations[number].row["RowKey"] if known else None) from error  # type: ignore[index]

    async def ensure_created(self) -> None:
        """See `Table`; raises HttpResponseError."""
        kind = {"Content-Type": "application/json;odata=nometadata", "Prefer": "return-no-content"}
        answer = await self._send("POST", "/Tables", {}, kind, json.dumps({"TableName": self.name}).encode())
        if answer.status not in (201, 204, 409):
            raise failure(answer.status, answer.content)

    async def probe(self) -> None:
        """See `Table`; raises HttpResponseError."""
        await self.get("00", "00", select=["RowKey"])

    async def _send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> "_Answer":
        query = "&".join(part for part in (urlencode(parameters, quote_via=quote, safe=""), self._query) if part)
        url = f"{self._account}{path}{'?' if query else ''}{query}"
        request = HttpRequest(method, url, headers={**self._headers, **(headers or {})}, content=content)
        began = time.perf_counter()
        response = (await self._pipeline.run(request)).http_response
        operation = "read" if method == "GET" else "write"
        Metrics.storage_duration.record(time.perf_counter() - began, operation=operation, table=self.name)
        following = {name: found for name in _KEYS if (found := response.headers.get(f"x-ms-continuation-Next{name}"))}
        # What is empty can't be read twice, and the pipeline has read it.
        read = response.content if response.is_stream_consumed else await response.read()
        return _Answer(response.status_code, read, following)

    async def close(self) -> None:
        """Close the connections."""
        await self._pipeline.__aexit__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Answer(NamedTuple):
    status: int
    content: bytes
    following: dict[str, str]


def _odata(condition: Condition) -> str:
    column, operator, value = condition
    if operator == "in":
        return "(" + " or ".join(f"{column} eq {_literal(one)}" for one in value) + ")"
    return f"{column} {operator} {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(2**31) <= value < 2**31 else f"{value}L"
    if isinstance(value, datetime):
        return f"datetime'{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z'"
    if isinstance(value, str):
        return quoted(value)
    raise TypeError(f"no row is looked for by a {type(value).__name__}")


def _credential(credential: Any, host: str) -> list[Any]:
    match credential:
        case None:  # the address has a shared access signature
            return [_Dated()]
        case AzureNamedKeyCredential():
            return [_Dated(), _SharedKey(credential)]
        case AzureSasCredential():
            return [_Dated(), AzureSasCredentialPolicy(credential)]
        case _:
            service = "cosmos" if ".table.cosmos." in host else "storage"
            return [_Dated(), AsyncBearerTokenCredentialPolicy(credential, f"https://{service}.azure.com/.default")]


class _Dated(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Every request tells when it was sent."""

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        request.http_request.headers["x-ms-date"] = format_date_time(time.time())


class _SharedKey(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Signs with the account's key, as in "Authorize with Shared Key": the form for tables."""

    def __init__(self, credential: AzureNamedKeyCredential) -> None:
        self._credential = credential

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        from yarl import URL  # aiohttp's own, loaded with the first request

        sent = request.http_request
        account, key = self._credential.named_key
        path = URL(sent.url).raw_path  # as it goes over the wire
        date, kind = sent.headers["x-ms-date"], sent.headers.get("Content-Type", "")
        text = f"{sent.method}\n\n{kind}\n{date}\n/{account}{path}"
        signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode()
        sent.headers["Authorization"] = f"SharedKey {account}:{signature}"
