"""Sends the hot path's two requests for a table, with the client's own address and credential."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
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

from .entities import Entity, decode
from .transactions import Operation, body, check, entity_path, failure

__all__ = ["TableSession"]

_HEADERS = {
    "Accept": "application/json;odata=minimalmetadata",
    "DataServiceVersion": "3.0",
    "MaxDataServiceVersion": "3.0;NetFx",
}


class TableSession:
    """Point reads and transactions of one table.

    Parameters
    ----------
    table:
        The SDK's client: its address and credential are used, its connections aren't.
    """

    def __init__(self, table: TableClient) -> None:
        from azure.core.pipeline.transport import AioHttpTransport  # loaded with the first table

        address = urlsplit(table.url)
        self._account = f"{address.scheme}://{address.netloc}{address.path.rstrip('/')}"
        self._query = f"?{address.query}" if address.query else ""
        self._table = table.table_name
        self._headers = _HEADERS | {"x-ms-version": table.api_version}
        # Retries lie outside, so that each try is signed for the moment at which it goes.
        policies = [UserAgentPolicy(), AsyncRetryPolicy(), *_credential(table.credential, address.netloc)]
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            AioHttpTransport(use_env_settings=proxied()), policies
        )

    async def get(self, partition: str, row: str) -> Entity | None:
        """The entity, or None where there is none; raises HttpResponseError."""
        status, answer = await self._send("GET", entity_path(self._table, partition, row))
        if status == 200:
            return decode(answer)
        error = failure(status, answer)
        if status == 404 and error.error_code != "TableNotFound":
            return None
        raise error

    async def submit(self, operations: Sequence[Operation]) -> None:
        """Do all operations or none.

        Raises
        ------
        TransactionFailed
            None was done; anything else may have happened where the connection broke.
        """
        boundary = str(uuid4())
        content = body(self._account, self._table, operations, boundary)
        kind = {"Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        status, answer = await self._send("POST", "/$batch", kind, content)
        if status != 202:
            raise failure(status, answer)
        check(answer, len(operations))

    async def _send(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> tuple[int, bytes]:
        url = f"{self._account}{path}{self._query}"
        request = HttpRequest(method, url, headers=self._headers | (headers or {}), content=content)
        response = (await self._pipeline.run(request)).http_response
        return response.status_code, await response.read()

    async def close(self) -> None:
        """Close the connections."""
        await self._pipeline.__aexit__()


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
