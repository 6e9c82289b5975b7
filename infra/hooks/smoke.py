"""After deployment: the delivery's smoke test on what azd has just deployed, signed in as whoever deploys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from infra.delivery.azure import AzureFailed, az
from infra.delivery.smoke import main as smoke
from infra.hooks.first_secrets import smoke_key

__all__ = ["smoke_test"]

_SECONDS = "600"
"""A first deployment meets cold starts, and roles that are still on their way."""

_NEXT = """
One order went all the way: {url}/api/docs tells what else there is. Next:
  a key for a client      python3 dev.py api-key CLIENT --roles producer   (its entry goes into the secret api-keys)
  tokens instead of keys  azd env set SLUICE_AUTH_ISSUER ... ; azd env set SLUICE_AUTH_AUDIENCE ... ; azd up
  send one yourself       curl {url}/api/orders -H "X-API-Key: $(az keyvault secret show --vault-name {vault} \\
                            --name smoke-key --query value -o tsv)" -H 'Content-Type: application/json' -d @order.json
  remove it all           azd down
"""


def smoke_test(
    environment: MutableMapping[str, str], run: Callable[[Sequence[str]], Any], test: Callable[[Sequence[str]], int]
) -> int:
    """0 where one order came through.

    Where the API has an audience, a token is asked for; else the key that the first deployment made is used.

    Raises
    ------
    AzureFailed
        There is no address, no token or no key.
    """
    url, audience = environment.get("SLUICE_API_URI", ""), environment.get("SLUICE_AUTH_AUDIENCE", "")
    vault = environment.get("SLUICE_KEY_VAULT_NAME", "")
    if not url or not vault:
        raise AzureFailed("SLUICE_API_URI and SLUICE_KEY_VAULT_NAME are not set: provision first")
    if not environment.get("SLUICE_TOKEN") and not environment.get("SLUICE_API_KEY"):
        if audience:
            token = run(["account", "get-access-token", "--resource", audience, "--query", "accessToken"])
            environment["SLUICE_TOKEN"] = str(token)
        else:
            environment["SLUICE_API_KEY"] = smoke_key(vault, run)
    code = test(["--url", url, "--timeout", _SECONDS])
    if code == 0:
        sys.stdout.write(_NEXT.format(url=url, vault=vault))
    return code


if __name__ == "__main__":
    try:
        sys.exit(smoke_test(os.environ, lambda arguments: az(arguments, timeout=60.0), smoke))
    except AzureFailed as failure:
        sys.exit(str(failure))
