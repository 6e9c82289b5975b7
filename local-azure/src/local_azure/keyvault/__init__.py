"""A Key Vault on this machine: secrets and keys over HTTPS, for the real SDKs."""

from local_azure.keyvault.address import VaultAddress, parse_vault

__all__ = ["VaultAddress", "parse_vault"]
