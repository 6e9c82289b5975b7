"""Where a running vault is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["VAULT_NAME", "VaultAddress", "parse_vault"]

VAULT_NAME: Final = "vault.localhost"

_READY = re.compile(r'^ready vault=(https://\S+) admin=(http://\S+) ca="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """The vault's own address, its administration, and the file with what its clients must trust."""

    url: str
    admin_url: str
    ca_bundle: str

    @property
    def named_url(self) -> str:
        """The vault by a name, for SDKs that refuse an address. Names under localhost may need a line in `hosts`."""
        return f"https://{VAULT_NAME}:{self.port}"

    @property
    def port(self) -> int:
        """The port of the vault."""
        return int(self.url.rpartition(":")[2])

    @property
    def admin_port(self) -> int:
        """The port of its administration."""
        return int(self.admin_url.rpartition(":")[2])


def parse_vault(printed: str) -> VaultAddress | None:
    """The address a vault prints when it is ready, or None before."""
    found = _READY.search(printed)
    return VaultAddress(found[1], found[2], found[3]) if found else None
