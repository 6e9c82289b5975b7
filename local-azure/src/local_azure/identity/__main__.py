"""Runs the issuer: `python -m local_azure.identity --data-dir DIR --port PORT`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from local_azure.identity.registration import RegistrationError
from local_azure.identity.running import running_identity
from local_azure.stopping import stop_on_signals

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (RegistrationError, OSError) as error:
        print(f"identity: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local-azure identity", description="An OpenID issuer and a managed identity endpoint on this machine."
    )
    parser.add_argument("--data-dir", type=Path, default=Path(".identity"), help="where its keys are kept")
    parser.add_argument("--port", type=int, default=5310, help="HTTP port, 0 for any free one")
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="NAME",
        help="a role of clients that name none; may be given many times",
    )
    return parser


async def _serve(options: argparse.Namespace) -> None:
    async with running_identity(options.data_dir, options.port, roles=options.role) as (address, _):
        stopped = asyncio.Event()
        stop_on_signals(stopped)
        print(f"ready identity={address.url} tenant={address.tenant}", flush=True)  # noqa: T201
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
