"""What a developer asks of the stack's issuer and vault by command: `dev.py token`, `dev.py vault`."""

from __future__ import annotations

from typing import Final

__all__ = ["AUDIENCE", "ROLES"]

AUDIENCE: Final = "api://sluice"
"""What the app's own API is called in tokens."""

ROLES: Final = ("producer", "reader", "operator")
"""The app's roles."""
