"""Events of the vault: both schemas; whatever isn't one is refused by the field's name, never with what is in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rotation.events import BadEvent, EventKind, SecretEvent, read_event
from tests.unit.shared.secrets.world import BIRTH

VAULT = "https://one.vault.example"
NOW = BIRTH + timedelta(days=1)
DATA = {"Id": f"{VAULT}/secrets/a/v1", "ObjectType": "Secret", "ObjectName": "a", "Version": "v1", "VaultName": "one"}
GRID = {
    "id": "1",
    "subject": "a",
    "eventType": "Microsoft.KeyVault.SecretNearExpiry",
    "eventTime": BIRTH.isoformat(),
    "data": DATA,
}
CLOUD = {
    "specversion": "1.0",
    "id": "1",
    "subject": "a",
    "type": "Microsoft.KeyVault.SecretNearExpiry",
    "time": "2026-01-01T00:00:00Z",
    "data": {name[0].lower() + name[1:]: value for name, value in DATA.items()},
}
PLANTED = "planted-value"


def read(content: object) -> SecretEvent | None:
    return read_event(content, vaults=[VAULT], now=NOW)


@pytest.mark.parametrize("content", [GRID, CLOUD])
def test_both_schemas_are_read(content: dict[str, Any]) -> None:
    """In either case of the fields."""
    assert read(content) == SecretEvent("1", EventKind.NEAR_EXPIRY, "a", "v1", BIRTH)


@pytest.mark.parametrize("kind", ["KeyNewVersionCreated", "CertificateExpired", "VaultAccessPolicyChanged"])
def test_other_events_of_the_vault_are_none_of_ours(kind: str) -> None:
    """The subscription may send them."""
    assert read({**GRID, "eventType": f"Microsoft.KeyVault.{kind}"}) is None


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "text",
        {},
        {**CLOUD, "specversion": "0.3"},
        {**GRID, "eventType": PLANTED},
        {**GRID, "eventType": 7},
        {**GRID, "id": ""},
        {**GRID, "id": "x" * 257},
        {**GRID, "eventTime": PLANTED},
        {**GRID, "eventTime": "2026-01-01T00:00:00"},
        {**GRID, "eventTime": "2026-02-01T00:00:00Z"},
        {**GRID, "subject": PLANTED},
        {**GRID, "data": PLANTED},
        {**GRID, "data": {**DATA, "ObjectType": "Key"}},
        {**GRID, "data": {**DATA, "ObjectName": PLANTED}},
        {**GRID, "data": {**DATA, "Version": PLANTED}},
        {**GRID, "data": {**DATA, "Version": None}},
        {**GRID, "data": {**DATA, "Id": f"https://{PLANTED}/secrets/a/v1"}},
        {**GRID, "data": {**DATA, "Id": f"{VAULT}.evil.example/secrets/a/v1"}},
        {**GRID, "data": {**DATA, "Id": f"http://one.vault.example/secrets/a/v1{PLANTED}"}},
        {**GRID, "data": {**DATA, "Id": f"https://u:{PLANTED}@one.vault.example/secrets/a/v1"}},
        {**GRID, "data": {**DATA, "Id": f"{VAULT}/keys/a/v1"}},
        {**GRID, "data": {**DATA, "Id": f"{VAULT}/secrets/a"}},
        {**GRID, "data": {**DATA, "Id": f"{VAULT}/secrets/a b/v1"}},
        {**GRID, "data": {**DATA, "Id": f"{VAULT}/secrets/a/v1?{PLANTED}"}},
        {**GRID, "data": {**DATA, "Id": "https://[/secrets/a/v1"}},
    ],
)
def test_a_forged_event_is_refused_without_quoting_it(content: Any) -> None:
    """It may hold anything."""
    with pytest.raises(BadEvent) as caught:
        read(content)
    assert PLANTED not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([GRID, CLOUD]), st.sampled_from([*GRID, *CLOUD, *DATA]), JSON)
def test_any_change_to_an_event_is_read_or_refused(event: dict[str, Any], field: str, value: Any) -> None:
    """Nothing else happens."""
    for changed in ({**event, field: value}, {**event, "data": {**event["data"], field: value}}):
        try:
            found = read(changed)
        except BadEvent:
            continue
        assert found is None or found.name == "a"
