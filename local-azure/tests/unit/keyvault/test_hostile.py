"""Whatever a request holds, it gets an answer that blames the request, and the vault goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_azure.identity.issuer import Asked as IdentityAsked
from local_azure.identity.issuer import Issuer
from local_azure.identity.keys import KeyRing, make_signing_key
from local_azure.keyvault.access import Access, Caller, TokenVerifier
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.operations import find_operation
from local_azure.keyvault.requests import Throttle
from local_azure.keyvault.storage import Storage
from local_azure.keyvault.vault import Vault
from local_azure.keyvault.wire import Answer, Asked
from unit.identity.test_issuer import ADDRESS, REGISTRATION, TENANT

FIELDS = [
    *("value", "contentType", "attributes", "enabled", "exp", "nbf", "tags", "kty", "key_size", "key_ops", "key"),
    *("n", "e", "d", "alg", "a", "digest"),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["RSA", "RSA-OAEP", "RSA-OAEP-256", "RS256", "wrapKey", "AQAB", "c2hvcnQ", "\ud800", "x" * 30_000]),
    st.sampled_from([10**400, -1, 2**63, 253_402_300_800]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
BODIES = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
)
PARTS = st.sampled_from(
    [
        *("secrets", "keys", "deletedsecrets", "deletedkeys", "a", "b", "", "versions", "create", "rotate", "recover"),
        *(
            "wrapkey",
            "unwrapkey",
            "encrypt",
            "decrypt",
            "sign",
            "verify",
            "backup",
            "restore",
            "%00",
            "\ud800",
            "x" * 300,
            "0" * 32,
            "..",
        ),
    ]
)
PATHS = st.lists(PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.dictionaries(
    st.sampled_from(["maxresults", "$skiptoken", "x"]), st.sampled_from(["", "5", "-1", "AAAA", "\u00e9", "9" * 99])
)


class Trusting(TokenVerifier):
    """Believes everybody, so that requests come as far as they can."""

    def __init__(self) -> None:
        pass

    async def verify(self, authorization: str, base: str) -> Caller:
        return Caller("me", "app")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    access = Access()
    access.grant("me", ["Key Vault Administrator"])
    storage = Storage(tmp_path_factory.mktemp("vault"))
    seconds = itertools.count(1_000_000)
    yield Vault(
        storage,
        base="https://127.0.0.1:5320",
        verifier=Trusting(),
        access=access,
        throttle=Throttle(1_000_000, lambda: 0.0),
        now=lambda: next(seconds),
    )
    storage.close()


def ask(vault: Vault, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
    try:
        operation = find_operation(method, path)
    except VaultError as error:
        return Answer(error.status, error.body())
    asked = Asked(method, path, {**query, "api-version": "7.6"}, {}, body)
    return asyncio.run(vault.answer(asked, operation))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(method=st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"]), path=PATHS, query=QUERIES, body=BODIES)
def test_no_request_breaks_the_vault(vault: Vault, method: str, path: str, query: dict[str, str], body: bytes) -> None:
    answer = ask(vault, method, path, query, body)
    assert answer.status < 500 or (answer.status, _code(answer)) == (501, "NotSupported")
    assert answer.content is None or json.dumps(answer.content).encode()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8), item=st.sampled_from(["a", "b"]))
def test_no_body_breaks_an_operation_that_reads_one(vault: Vault, value: dict[str, Any], item: str) -> None:
    body = json.dumps(value).encode()
    requests = [("PUT", f"/secrets/{item}"), ("PATCH", f"/secrets/{item}"), ("PUT", f"/keys/{item}")]
    requests += [("PATCH", f"/keys/{item}"), ("POST", f"/keys/{item}//unwrapkey"), ("POST", f"/keys/{item}//sign")]
    requests += [("POST", f"/keys/{item}//verify"), ("POST", "/keys/restore"), ("POST", "/secrets/restore")]
    for method, path in requests:
        assert ask(vault, method, path, {}, body).status in (200, 400, 403, 404, 409)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_request_breaks_the_issuer(issuer: Issuer, data: st.DataObject) -> None:
    """Forms and queries hold no lone surrogates, since aiohttp replaces them; headers may."""
    texts = st.text(max_size=20) | st.sampled_from(
        ["client_credentials", "of-clients", "a/.default", "1", "of-the-host"]
    )
    headers = texts | st.sampled_from(["\udc80", "Bearer of-clients", "Bearer \udcff"])
    names = ["grant_type", "client_id", "client_secret", "scope", "roles", "lifetime", "overlap", "resource"]
    fields = st.dictionaries(st.sampled_from([*names, "api-version"]), texts)
    path = data.draw(st.sampled_from(["/msi/token", "/admin/rotate", f"/{TENANT}/oauth2/v2.0/token", "/", "//a"]))
    asked = IdentityAsked(
        data.draw(st.sampled_from(["GET", "POST"])),
        path,
        data.draw(fields),
        {"x-identity-header": data.draw(headers), "authorization": data.draw(headers)},
        data.draw(fields),
    )
    answer = issuer.answer(asked)
    assert 200 <= answer.status < 500
    assert json.dumps(answer.content)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    key = make_signing_key()
    return Issuer(ADDRESS, REGISTRATION, KeyRing([key], make=lambda: key, keep=lambda text: None), lambda: 1e9)


def _code(answer: Answer) -> str:
    assert answer.content is not None
    return str(answer.content["error"]["code"])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    from local_azure.keyvault.storage import StorageError

    (tmp_path / "vault.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="cannot be used"):
        Storage(tmp_path)
