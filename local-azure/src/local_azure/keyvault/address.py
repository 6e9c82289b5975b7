"""Where a running vault is."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["VaultAddress", "parse_vault"]

_READY = re.compile(r'^ready vault=(https://\S+) admin=(http://\S+) ca="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """The vault's own address, its administration, and the file with what its clients must trust."""

    url: str
    admin_url: str
    ca_bundle: str

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
