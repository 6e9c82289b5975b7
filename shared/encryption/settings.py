"""Settings of encryption: the key-encryption key, and which messages and claims are encrypted."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator

from shared.environment import SettingsSlice, contradiction, listed

__all__ = ["EncryptionSettings"]

KeyReference = Annotated[str, Field(pattern=r"^(key|secret):[0-9A-Za-z-]{1,127}$")]
_LANES = ("high", "normal", "low", "ordered")


class EncryptionSettings(SettingsSlice):
    """What is encrypted, and under what."""

    data_key: KeyReference | None = Field(None, alias="SLUICE_DATA_KEY")
    encrypted_lane_names: str = Field("", alias="SLUICE_ENCRYPTED_LANES", max_length=64)
    encrypt_claims: bool | None = Field(None, alias="SLUICE_ENCRYPT_CLAIMS")
    encryption_required: bool = Field(False, alias="SLUICE_SEALING_REQUIRED")

    @property
    def encrypted_lanes(self) -> tuple[str, ...]:
        """Lanes whose messages are encrypted."""
        return listed(self.encrypted_lane_names)

    @property
    def encrypts_claims(self) -> bool:
        """Claims are encrypted: as set, else where any lane is."""
        return bool(self.encrypted_lanes) if self.encrypt_claims is None else self.encrypt_claims

    @field_validator("encrypted_lane_names")
    @classmethod
    def _lane_names(cls, names: str) -> str:
        if others := sorted(set(listed(names)) - set(_LANES)):
            raise ValueError(f"names {', '.join(others)[:64]}; lanes are {', '.join(_LANES)}")
        return names

    @contradiction("data_key", "encrypted_lane_names", "encrypt_claims")
    def _key_for_messages(self) -> Iterator[str]:
        if self.data_key is None:
            asked = {"SLUICE_ENCRYPTED_LANES": self.encrypted_lanes, "SLUICE_ENCRYPT_CLAIMS": self.encrypt_claims}
            yield from (f"{name} needs SLUICE_DATA_KEY" for name, value in asked.items() if value)

    @contradiction("encrypted_lane_names", "encrypt_claims", "encryption_required")
    def _all_that_is_required(self) -> Iterator[str]:
        if self.encryption_required and (set(self.encrypted_lanes) != set(_LANES) or not self.encrypts_claims):
            yield "SLUICE_SEALING_REQUIRED needs all four lanes in SLUICE_ENCRYPTED_LANES, and encrypted claims"
