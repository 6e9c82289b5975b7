"""Runs the vault: `python -m local_azure.keyvault --data-dir DIR --port PORT --identity URL --tenant ID`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import Final

from local_azure.identity import IdentityAddress
from local_azure.keyvault.access import ROLES, Access
from local_azure.keyvault.authority import AuthorityError
from local_azure.keyvault.requests import Throttle
from local_azure.keyvault.running import NEAR_EXPIRY_SECONDS, running_vault
from local_azure.keyvault.seeding import Seeds
from local_azure.keyvault.storage import StorageError
from local_azure.stopping import stop_on_signals, stopped_or_failed

__all__ = ["main"]

_LIMIT: Final = 4_000
"""Requests in ten seconds: the service's limit for secrets and for 2048-bit software keys, per vault and region."""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        access = _access(options.grant)
        throttle = Throttle(options.limit, time.monotonic)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(options, access, throttle))
    except (StorageError, AuthorityError, OSError) as error:
        print(f"keyvault: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="local-azure vault", description="A Key Vault on this machine, over HTTPS.")
    parser.add_argument("--data-dir", type=Path, default=Path(".keyvault"), help="where its items are kept")
    parser.add_argument("--port", type=int, default=5320, help="HTTPS port, 0 for any free one")
    parser.add_argument("--admin-port", type=int, default=0, help="HTTP port of the administration, 0 for any free one")
    parser.add_argument("--identity", required=True, metavar="URL", help="the issuer whose tokens it takes")
    parser.add_argument("--tenant", required=True, metavar="ID", help="the issuer's tenant")
    parser.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="OBJECT_ID=ROLE",
        help=f"what an identity may do, one of: {', '.join(ROLES)}; may be given many times",
    )
    parser.add_argument("--limit", type=int, default=_LIMIT, metavar="N", help="requests in ten seconds")
    parser.add_argument("--near-expiry-seconds", type=int, default=NEAR_EXPIRY_SECONDS, metavar="N")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a secret that a new vault holds, at random without a value; may be given many times",
    )
    parser.add_argument(
        "--key", action="append", default=[], metavar="NAME", help="an RSA key that a new vault holds, to wrap others"
    )
    return parser


def _access(grants: list[str]) -> Access:
    roles: dict[str, list[str]] = {}
    for grant in grants:
        object_id, _, role = grant.partition("=")
        roles.setdefault(object_id, []).append(role)
    access = Access()
    for object_id, given in roles.items():
        access.grant(object_id, given)
    return access


def _seeds(options: argparse.Namespace) -> Seeds:
    given = (part.partition("=") for part in options.secret)
    return Seeds({name: value if separator else None for name, separator, value in given}, options.key)


async def _serve(options: argparse.Namespace, access: Access, throttle: Throttle) -> None:
    async with running_vault(
        options.data_dir,
        IdentityAddress(options.identity, options.tenant),
        access,
        throttle=throttle,
        port=options.port,
        admin_port=options.admin_port,
        near_expiry_seconds=options.near_expiry_seconds,
        seeds=_seeds(options),
    ) as running:
        stopped = asyncio.Event()
        stop_on_signals(stopped)
        address = running.address
        ready = f'ready vault={address.url} admin={address.admin_url} ca="{address.ca_bundle}"'
        print(ready, flush=True)  # noqa: T201
        await stopped_or_failed(stopped, running.failed)


if __name__ == "__main__":
    sys.exit(main())
