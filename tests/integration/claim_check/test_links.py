"""Links straight to the storage, signed with a key that it lends to an identity: what they open, and what not."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local_azure.keyvault.authority import server_context, write_bundle
from shared.blobs import Links, StagedBlobs
from shared.claim_check import LARGEST_UPLOAD, Uploads
from tests.integration.conftest import running_azurite

SOMEBODY = str(UUID(int=1))


class Identity:
    """An identity as the storage knows it: Azurite reads the token and asks nobody about its signature."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        now = int(time.time())
        claims: dict[str, Any] = {"aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{SOMEBODY}/"}
        claims |= {"oid": SOMEBODY, "tid": SOMEBODY, "nbf": now - 60, "iat": now - 60, "exp": now + 3_600}
        parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims, {}))
        return AccessToken(
            ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), now + 3_600
        )

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


@dataclass
class Storage:
    """A storage over HTTPS that knows identities."""

    url: str
    bundle: Path

    def send(self, method: str, url: str, body: bytes | None = None) -> int:
        """A request by somebody who has nothing but the link; its status."""
        kind = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        context = ssl.create_default_context(cafile=str(self.bundle))
        try:
            request = urllib.request.Request(url, body, kind, method=method)
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code


@pytest.fixture(scope="module")
def storage(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder = tmp_path_factory.mktemp("https")
    server_context(folder)
    certificate = str(folder / "server.pem")
    options = ("--oauth", "basic", "--cert", certificate, "--key", certificate)
    with running_azurite(project, folder, *options) as ports:
        yield Storage(f"https://127.0.0.1:{ports.blob}/devstoreaccount1", write_bundle(folder))


@pytest.fixture
async def uploads(storage: Storage) -> AsyncIterator[Uploads]:
    trusted: dict[str, Any] = {"credential": Identity(), "connection_verify": str(storage.bundle)}
    container = ContainerClient(storage.url, f"claims-{uuid4().hex}", **trusted)
    links = Links(lambda: BlobServiceClient(storage.url, **trusted))
    made = Uploads(StagedBlobs(container, largest=LARGEST_UPLOAD, links=links))
    yield made
    await made.close()


async def test_a_payload_goes_up_by_the_link_alone(storage: Storage, uploads: Uploads) -> None:
    """The container isn't there before; nobody but the link's holder says anything."""
    link, ends = await linked(uploads, "one")
    assert storage.send("PUT", link, b"payload") == 201
    assert await uploads.get("one", size=7, sha256=hashlib.sha256(b"payload").hexdigest()) == b"payload"
    assert ends - datetime.now(UTC) <= timedelta(hours=1)


async def test_a_link_writes_its_own_blob_and_nothing_else(storage: Storage, uploads: Uploads) -> None:
    """Not another blob, not reading, not deleting, not listing, not once it has ended, not with a later end."""
    link, _ = await linked(uploads, "two")
    assert storage.send("PUT", link, b"payload") == 201
    refused = {
        "another": storage.send("PUT", link.replace("/uploads/two", "/uploads/six"), b"x"),
        "read": storage.send("GET", link),
        "delete": storage.send("DELETE", link),
        "list": storage.send("GET", link.replace("/uploads/two", "") + "&restype=container&comp=list"),
        "later": storage.send("PUT", link.replace("&se=20", "&se=21"), b"x"),
        "ended": storage.send("PUT", (await linked(uploads, "two", hours=-2))[0], b"x"),
    }
    assert refused == dict.fromkeys(refused, 403)


async def test_a_link_says_what_the_service_wants_of_it(uploads: Uploads) -> None:
    """By the key of an identity, over HTTPS, for one blob; the key is asked for once."""
    link, ends = await linked(uploads, "three")
    said = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert {name: said[name] for name in ("sp", "spr", "sr", "skoid", "sktid", "sks")} == {
        "sp": "cw", "spr": "https", "sr": "b", "skoid": SOMEBODY, "sktid": SOMEBODY, "sks": "b"
    }  # fmt: skip
    assert said["se"] == ends.strftime("%Y-%m-%dT%H:%M:%SZ")
    other = parse_qs(urlsplit((await linked(uploads, "four"))[0]).query)
    assert other["skt"] == [said["skt"]]


async def linked(uploads: Uploads, name: str, *, hours: float = 0) -> tuple[str, datetime]:
    found = await uploads.link(name, now=datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours))
    assert found is not None
    return found
