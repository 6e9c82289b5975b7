"""After deployment: the delivery's smoke test on what azd has just deployed, signed in as whoever deploys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from infra.delivery.azure import AzureFailed, az
from infra.delivery.smoke import main as smoke

__all__ = ["smoke_test"]

_SECONDS = "600"
"""A first deployment meets cold starts, and roles that are still on their way."""


def smoke_test(
    environment: MutableMapping[str, str], run: Callable[[Sequence[str]], Any], test: Callable[[Sequence[str]], int]
) -> int:
    """0 where one order came through; a token is asked for where the API has an audience and none is given.

    Raises
    ------
    AzureFailed
        There is no address, or no token.
    """
    url, audience = environment.get("SLUICE_API_URI", ""), environment.get("SLUICE_AUTH_AUDIENCE", "")
    if not url:
        raise AzureFailed("SLUICE_API_URI is not set: provision first")
    if audience and not environment.get("SLUICE_TOKEN"):
        token = run(["account", "get-access-token", "--resource", audience, "--query", "accessToken"])
        environment["SLUICE_TOKEN"] = str(token)
    return test(["--url", url, "--timeout", _SECONDS])


if __name__ == "__main__":
    try:
        sys.exit(smoke_test(os.environ, lambda arguments: az(arguments, timeout=60.0), smoke))
    except AzureFailed as failure:
        sys.exit(str(failure))
