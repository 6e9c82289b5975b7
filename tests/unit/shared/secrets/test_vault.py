"""Key Vault's answers through the real SDK, with a transport in place of the network."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import HttpRequest
from azure.core.rest._http_response_impl_async import AsyncHttpResponseImpl
from azure.core.utils import CaseInsensitiveDict

from shared.secrets import (
    MalformedAnswer,
    SecretDisabled,
    SecretError,
    UnknownSecret,
    Vault,
    VaultDenied,
    VaultPair,
    VaultThrottled,
    VaultUnavailable,
)

from .world import VALUE


def answer_to(request: HttpRequest, status: int, body: bytes, headers: dict[str, str]) -> AsyncHttpResponseImpl:
    """A whole answer, as a transport hands it over."""

    async def download(*_: Any, **__: Any) -> AsyncIterator[bytes]:
        yield body

    answer = AsyncHttpResponseImpl(
        request=request,
        internal_response=None,
        block_size=None,
        status_code=status,
        reason="",
        content_type="application/json",
        headers=CaseInsensitiveDict({"Content-Type": "application/json", **headers}),
        stream_download_generator=download,
    )
    answer._content = body  # as if it were read
    answer._is_closed = True
    return answer


class Wire(AsyncHttpTransport[Any, Any]):
    """Answers every request with what is next, an exception is raised; challenges the first."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def send(self, request: HttpRequest, **_: Any) -> Any:
        """One exchange."""
        if "Authorization" not in request.headers:
            challenge = 'Bearer authorization="https://login.example/t", resource="https://vault.example"'
            return answer_to(request, 401, b"", {"WWW-Authenticate": challenge})
        self.asked.append(request.url)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        status, body, headers = answer
        return answer_to(request, status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def __aexit__(self, *_: Any) -> None:
        """Nothing to close."""


class Credential:
    """Has a token."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        """One that lasts."""
        return AccessToken("token", int(time.time()) + 3_600)

    async def close(self) -> None:
        """Nothing is open."""


def bundle(name: str = "a", **changed: Any) -> dict[str, Any]:
    """A secret as the vault tells it."""
    attributes = {"enabled": True, "created": 1_700_000_000, "updated": 1_700_000_000}
    return {"value": VALUE, "id": f"https://one.vault.example/secrets/{name}/v1", "attributes": attributes, **changed}


def failure(status: int, inner: str = "", **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """An error as the vault tells it; its message is as bad as it can be."""
    error = {"code": "Forbidden", "message": f"about {VALUE}", "innererror": {"code": inner}}
    return status, {"error": error}, headers


def vault(*answers: Any, address: str = "https://one.vault.example", reads: int = 100) -> tuple[Vault, Wire]:
    """A vault that answers so."""
    wire = Wire(*answers)
    options = {"transport": wire}
    return Vault(address, Credential, reads_per_10_seconds=reads, options=options), wire  # type: ignore[arg-type]


async def test_a_secret_is_read_whole() -> None:
    """Name, value, version, times."""
    one, wire = vault((200, bundle(), {}))
    secret = await one.read("a", None, within=1)
    assert (secret.name, secret.value, secret.version, secret.vault) == ("a", VALUE, "v1", one.address)
    assert secret.created.timestamp() == 1_700_000_000
    await one.read("a", "v1", within=1)
    assert [url.partition("?")[0].partition("/secrets/")[2] for url in wire.asked] == ["a/", "a/v1"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(404, "SecretNotFound"), UnknownSecret),
        (failure(403, "SecretDisabled"), SecretDisabled),
        ((200, bundle(attributes={"enabled": False, "created": 1}), {}), SecretDisabled),
        (failure(403, "ForbiddenByRbac"), VaultDenied),
        (failure(403, "ForbiddenByFirewall"), VaultDenied),
        (failure(401), VaultDenied),
        (failure(429), VaultThrottled),
        (failure(500), VaultUnavailable),
        (failure(503), VaultUnavailable),
        ((502, b"<html>" + VALUE.encode(), {}), VaultUnavailable),
        ((418, b"", {}), VaultUnavailable),
        ((302, b"", {"Location": "https://elsewhere.example"}), VaultUnavailable),
        ((200, b"", {}), MalformedAnswer),
        ((200, b"{" + VALUE.encode(), {}), MalformedAnswer),
        ((200, b"[]", {}), MalformedAnswer),
        ((200, b'"text"', {}), MalformedAnswer),
        ((200, b"null", {}), MalformedAnswer),
        ((200, {}, {}), MalformedAnswer),
        ((200, bundle(value=None), {}), MalformedAnswer),
        ((200, bundle(id="https://one.vault.example/secrets/a"), {}), MalformedAnswer),
        ((200, bundle(id="nonsense"), {}), MalformedAnswer),
        ((200, bundle(id=7), {}), MalformedAnswer),
        ((200, bundle(attributes=None), {}), MalformedAnswer),
        ((200, bundle(attributes={"created": "soon"}), {}), MalformedAnswer),
        ((200, bundle("b"), {}), MalformedAnswer),
        (ServiceRequestError(f"certificate verify failed {VALUE}"), VaultUnavailable),
        (ServiceResponseError("reset"), VaultUnavailable),
        (ClientAuthenticationError("no token"), VaultUnavailable),
        (RuntimeError(VALUE), VaultUnavailable),
    ],
)
async def test_every_answer_has_a_meaning(
    answer: Any, error: type[SecretError], caplog: pytest.LogCaptureFixture
) -> None:
    """One typed error that quotes nothing; the vault is asked once."""
    caplog.set_level(logging.DEBUG)
    one, wire = vault(answer)
    with pytest.raises(SecretError) as caught:
        await one.read("a", None, within=1)
    assert isinstance(caught.value, error)
    assert len(wire.asked) <= 2  # the SDK repeats a 401 once, with a new token
    told = [str(caught.value), repr(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    assert not [text for text in (*told, caplog.text) if VALUE in text]


async def test_a_throttled_vault_is_left_alone_for_as_long_as_it_asks() -> None:
    """Whoever can't wait so long is told without asking it."""
    one, wire = vault(failure(429, **{"Retry-After": "7"}), (200, bundle(), {}))
    with pytest.raises(VaultThrottled) as caught:
        await one.read("a", None, within=1)
    assert caught.value.after == 7
    with pytest.raises(VaultThrottled):
        await one.read("a", None, within=6)
    assert len(wire.asked) == 1


async def test_an_instance_keeps_to_its_share_of_the_vaults_limit() -> None:
    """What is over it isn't sent."""
    one, wire = vault((200, bundle(), {}), reads=3)
    for _ in range(3):
        await one.read("a", None, within=0)
    with pytest.raises(VaultThrottled):
        await one.read("a", None, within=5)
    assert len(wire.asked) == 3


@pytest.mark.parametrize("answer", [failure(500), failure(429), failure(403), (200, b"{", {}), asyncio.Event()])
async def test_the_other_region_answers_while_the_first_cannot(answer: Any) -> None:
    """Within the time-out in all; the first is then left alone for a while."""
    first, first_wire = vault(answer)
    second, _ = vault((200, bundle(), {}), address="https://two.vault.example")
    pair = VaultPair([first, second], timeout=0.2)
    assert (await pair.read("a", None)).vault == "https://two.vault.example"
    assert (await pair.read("a", None)).vault == "https://two.vault.example"
    assert len(first_wire.asked) == 1


async def test_what_the_first_vault_says_of_a_secret_counts() -> None:
    """The other one isn't asked for a secret that is gone."""
    first, _ = vault(failure(404))
    second, wire = vault((200, bundle(), {}), address="https://two.vault.example")
    with pytest.raises(UnknownSecret):
        await VaultPair([first, second], timeout=1).read("a", None)
    assert wire.asked == []


async def test_that_the_other_region_misses_a_secret_says_nothing() -> None:
    """Its copy may be older: a value that is held goes on being used."""
    first, _ = vault(failure(500))
    second, _ = vault(failure(404), address="https://two.vault.example")
    with pytest.raises(VaultUnavailable):
        await VaultPair([first, second], timeout=1).read("a", None)


async def test_versions_are_listed_over_all_pages() -> None:
    """Without their values."""
    items = [{"id": f"https://one.vault.example/secrets/a/v{n}", "attributes": {"created": n}} for n in (1, 2)]
    pages: list[Any] = [
        (200, {"value": items[:1], "nextLink": "https://one.vault.example/secrets/a/versions?next"}, {}),
        (200, {"value": items[1:], "nextLink": None}, {}),
    ]
    one, _ = vault(*pages)
    assert [(v.version, v.enabled, v.created.timestamp()) for v in await one.versions("a", within=1)] == [
        ("v1", True, 1),
        ("v2", True, 2),
    ]
    broken, _ = vault((200, {"value": [{"id": "x"}]}, {}))
    with pytest.raises(MalformedAnswer):
        await broken.versions("a", within=1)
