"""A Key Vault on this machine: secrets and keys over HTTPS, for the real SDKs."""

from local.keyvault.address import VaultAddress, parse_vault

__all__ = ["VaultAddress", "parse_vault"]
