"""The API's description for the gateway: `python -m tests.infra.describing` renews `infra/openapi.json`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import integrations
from shared.messages import discover
from tests.unit.functions.conftest import Running

__all__ = ["KEPT", "described"]

KEPT = Path(__file__).resolve().parent.parent.parent / "infra" / "openapi.json"


async def described() -> dict[str, Any]:
    """What `GET /api/openapi.json` answers."""
    document: dict[str, Any] = json.loads((await Running(discover(integrations)).get("/api/openapi.json")).body)
    return document


if __name__ == "__main__":
    KEPT.write_text(json.dumps(asyncio.run(described()), indent=1) + "\n", encoding="utf-8")
