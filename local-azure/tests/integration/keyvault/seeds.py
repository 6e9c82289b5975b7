"""What the tests' vault holds from the start."""

from __future__ import annotations

__all__ = ["SECRETS", "SEEDS"]

SECRETS = ("api-keys", "data-key", "hmac-key", "operation-key", "token-key")
SEEDS = (
    *(part for name in SECRETS for part in ("--secret", "api-keys=[]" if name == "api-keys" else name)),
    *("--key", "data-key-wrap"),
)
"""Options of the vault's command line."""
