"""Which request is which operation, who may do it, and what goes wrong on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from local_azure.keyvault.access import Access
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.events import Subscription
from local_azure.keyvault.operations import check_api_version, find_operation
from local_azure.keyvault.requests import Fault, FaultKind, Faults, Throttle
from local_azure.keyvault.wire import Asked, page


@pytest.mark.parametrize(
    ("method", "path", "label", "right", "item", "version"),
    [
        ("PUT", "/secrets/a", "secrets/set", "secrets/setSecret", "a", ""),
        ("GET", "/secrets/a/", "secrets/get", "secrets/getSecret", "a", ""),
        ("GET", "/secrets/a", "secrets/get", "secrets/getSecret", "a", ""),
        ("GET", "/secrets/a/v", "secrets/get", "secrets/getSecret", "a", "v"),
        ("GET", "/secrets", "secrets/list", "secrets/readMetadata", "", ""),
        ("GET", "/secrets/a/versions", "secrets/versions", "secrets/readMetadata", "a", ""),
        ("PATCH", "/secrets/a/", "secrets/update", "secrets/update", "a", ""),
        ("DELETE", "/deletedsecrets/a", "secrets/purge", "secrets/purge", "a", ""),
        ("POST", "/deletedkeys/a/recover", "keys/recover", "keys/recover", "a", ""),
        ("PUT", "/keys/a", "keys/import", "keys/import", "a", ""),
        ("POST", "/keys/a/create", "keys/create", "keys/create", "a", ""),
        ("POST", "/keys/a/v/unwrapkey", "keys/unwrap", "keys/unwrap", "a", "v"),
        ("POST", "/keys/a//wrapkey", "keys/wrap", "keys/wrap", "a", ""),
        ("POST", "/keys/a/v/sign", "keys/sign", "keys/sign", "a", "v"),
        ("POST", "/keys/a//verify", "keys/verify", "keys/verify", "a", ""),
        ("POST", "/keys/a/backup", "keys/backup", "keys/backup", "a", ""),
        ("POST", "/secrets/restore", "secrets/restore", "secrets/restore", "", ""),
    ],
)
def test_a_request_is_an_operation(method: str, path: str, label: str, right: str, item: str, version: str) -> None:
    found = find_operation(method, path)
    assert found is not None
    assert (found.label, found.right, found.item, found.version) == (label, right, item, version)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "//"), ("POST", "/secrets/a"), ("GET", "/certificates")]
)
def test_other_requests_are_none(method: str, path: str) -> None:
    assert find_operation(method, path) is None


@pytest.mark.parametrize(("method", "path"), [("GET", "/keys/a/rotationpolicy"), ("POST", "/keys/a/v/release")])
def test_what_this_vault_lacks_is_said_to_be_lacking(method: str, path: str) -> None:
    with pytest.raises(VaultError) as error:
        find_operation(method, path)
    assert (error.value.status, error.value.code) == (501, "NotSupported")


def test_a_version_of_the_api_must_be_named() -> None:
    for known in ("7.4", "7.6-preview.2", "2025-07-01", "2026-04-01"):
        check_api_version({"api-version": known})
    for wrong in ({}, {"api-version": ""}, {"api-version": "latest"}):
        with pytest.raises(VaultError):
            check_api_version(wrong)


def test_roles_allow_what_they_allow_in_azure() -> None:
    access = Access()
    access.grant("ME", ["Key Vault Secrets User"])
    access.check("me", "app", "secrets/getSecret", "/secrets/a")
    for action in ("secrets/setSecret", "keys/read"):
        with pytest.raises(VaultError) as error:
            access.check("me", "app", action, "/secrets/a")
        assert (error.value.status, error.value.code, error.value.inner) == (403, "Forbidden", "ForbiddenByRbac")
    access.grant("me", [])
    with pytest.raises(VaultError):
        access.check("me", "app", "secrets/getSecret", "/secrets/a")
    with pytest.raises(ValueError, match="Owner is not a role"):
        access.grant("me", ["Owner"])


def test_the_limit_is_of_ten_seconds() -> None:
    now = [0.0]
    throttle = Throttle(2, lambda: now[0])
    throttle.take()
    now[0] = 4.0
    throttle.take()
    with pytest.raises(VaultError) as error:
        throttle.take()
    assert (error.value.status, dict(error.value.headers)) == (429, {"Retry-After": "6"})
    now[0] = 10.0
    throttle.take()


def test_faults_strike_as_often_and_where_they_are_told() -> None:
    rolls = iter([0.4, 0.6])
    faults = Faults(lambda: next(rolls))
    faults.add(Fault(FaultKind.ERROR, requests=2, operation="secrets/get", item="A"))
    assert faults.strike("keys/get", "a") is None
    assert faults.strike("secrets/get", "b") is None
    assert [bool(faults.strike("secrets/get", "a")) for _ in range(3)] == [True, True, False]
    faults.add(Fault(FaultKind.HANG, share=0.5))
    assert [bool(faults.strike("secrets/get", "a")) for _ in range(2)] == [True, False]
    faults.clear()
    assert faults.strike("secrets/get", "a") is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"kind": "fire"},
        {"kind": "error", "status": 200},
        {"kind": "error", "requests": 0},
        {"kind": "error", "requests": True},
        {"kind": "error", "share": 2},
        {"kind": "hang", "seconds": "long"},
        {"kind": "hang", "seconds": float("nan")},
        {"kind": "hang", "colour": "red"},
    ],
)
def test_a_fault_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Fault.read(content)


def test_pages_hold_every_row_once_while_rows_come_and_go() -> None:
    rows = [f"{number:03}" for number in range(60)]
    seen: list[str] = []
    query: dict[str, str] = {"api-version": "7.4", "maxresults": "7"}
    for _ in range(20):
        answer = page(Asked("GET", "/secrets", query), rows, lambda row: row, lambda row: {"row": row})
        assert answer.content is not None
        seen += [each["row"] for each in answer.content["value"]]
        if answer.content["nextLink"] is None:
            break
        rows.remove(seen[0])
        seen.pop(0)
        query = {**query, "$skiptoken": answer.content["nextLink"].rpartition("skiptoken=")[2].replace("%3D", "=")}
    assert seen == rows


@pytest.mark.parametrize(
    "query", [{"maxresults": "0"}, {"maxresults": "26"}, {"maxresults": "x"}, {"$skiptoken": "é"}, {"$skiptoken": "a"}]
)
def test_a_wrong_page_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(VaultError):
        page(Asked("GET", "/secrets", query), ["a"], str, lambda row: {})


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"name": "a"},
        {"name": "a", "webhook": "w", "service_bus": "s", "queue": "q"},
        {"name": "a", "webhook": 1},
        {"name": "a", "hook": "w"},
    ],
)
def test_a_subscription_is_to_one_place(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ubscription"):
        Subscription.read(content)
