"""The settings of encryption: what is named must be there, and what is demanded must be possible."""

from __future__ import annotations

import pytest

from functions.composition import Composition
from functions.composition.encryption import data_keys, fields, message_encryption
from shared.environment import WrongSettings
from shared.messages import Registry
from shared.settings import Settings
from tests.unit.functions.conftest import ENVIRONMENT

VAULT = {"KeyVault__vaultUri": "https://vault.example", "SLUICE_DATA_KEY": "key:wrap"}
ALL = {"SLUICE_ENCRYPTED_LANES": "high, normal,low,ordered"}


def load(**changed: str) -> Settings:
    """The settings of an environment that is right but for the changes."""
    return Settings.load({**ENVIRONMENT, **changed})


def test_without_a_data_key_nothing_is_encrypted() -> None:
    """And nothing of protection is made."""
    composition = Composition(load(), Registry([]))
    assert composition.get(data_keys) is None
    assert composition.get(fields) is None
    assert composition.get(message_encryption) is None


def test_claims_are_sealed_where_any_lane_is_unless_it_is_said_otherwise() -> None:
    """A large message on an encrypted lane isn't left plain by forgetting a setting."""
    assert not load(**VAULT).encrypts_claims
    assert load(**VAULT, **ALL).encrypts_claims
    assert load(**VAULT, **ALL).encrypted_lanes == ("high", "normal", "low", "ordered")
    assert not load(**VAULT, **ALL, SLUICE_ENCRYPT_CLAIMS="false").encrypts_claims
    assert load(**VAULT, SLUICE_ENCRYPT_CLAIMS="true").encrypts_claims


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SLUICE_DATA_KEY": "key:wrap"}, "KeyVault__vaultUri"),
        ({**VAULT, "SLUICE_DATA_KEY": "hunter2"}, "SLUICE_DATA_KEY"),
        ({**VAULT, "SLUICE_ENCRYPTED_LANES": "high,highest"}, "highest"),
        ({**VAULT, "SLUICE_TOKEN_KEY": "hunter2"}, "secret:<name>"),
        ({"SLUICE_TOKEN_KEY": "secret:token-key"}, "SLUICE_DATA_KEY"),
        ({"SLUICE_ENCRYPTED_LANES": "high"}, "SLUICE_DATA_KEY"),
        ({**VAULT, "SLUICE_SEALING_REQUIRED": "true", "SLUICE_ENCRYPTED_LANES": "high"}, "all four lanes"),
        ({**VAULT, **ALL, "SLUICE_SEALING_REQUIRED": "true", "SLUICE_ENCRYPT_CLAIMS": "false"}, "encrypted claims"),
    ],
)
def test_what_cannot_be_is_named_at_the_start(changed: dict[str, str], named: str) -> None:
    """Never with its value."""
    with pytest.raises(WrongSettings, match=named) as caught:
        load(**changed)
    assert "hunter2" not in str(caught.value)


def test_earlier_token_keys_are_named_by_their_versions() -> None:
    """The current one first."""
    settings = load(**VAULT, SLUICE_TOKEN_KEY="secret:token-key, secret:token-key/abc")
    assert settings.token_keys == ("token-key", "token-key/abc")
