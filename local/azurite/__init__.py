"""Azurite, the storage emulator of the local stack: its pinned packages, its process and its account."""

from local.azurite.account import AzuriteEndpoints, connection_string
from local.azurite.command import AZURITE_READY, azurite_command, parse_endpoints

__all__ = ["AZURITE_READY", "AzuriteEndpoints", "azurite_command", "connection_string", "parse_endpoints"]
