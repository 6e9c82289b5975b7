"""Runs the simulated partner: `python -m local_azure.partner --port PORT --script FILE`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from pathlib import Path

from local_azure.partner.script import Script
from local_azure.partner.server import running_partner
from local_azure.partner.webhooks import Webhook, webhooks_of
from local_azure.stopping import stop_on_signals

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    parser = argparse.ArgumentParser(prog="local-azure partner", description="Somebody else's API on this machine.")
    parser.add_argument("--port", type=int, default=5330, help="HTTP port, 0 for any free one")
    parser.add_argument("--script", type=Path, help="what it does to requests, as JSON; PUT /-/script changes it")
    parser.add_argument("--app", default="http://127.0.0.1:7071", help="address of the app that gets its webhooks")
    parser.add_argument("--keep", type=Path, help="a file that what it made survives in")
    parser.add_argument("--seed", type=int, help="makes its chances the same every time")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    script = Script(random=random.Random(options.seed).random)  # noqa: S311
    webhooks: list[Webhook] = []
    try:
        if options.script is not None:
            text = options.script.read_bytes()
            script.read(text)
            webhooks = webhooks_of(text)
        asyncio.run(_serve(script, webhooks, options))
    except (ValueError, OSError) as error:
        print(f"partner: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


async def _serve(script: Script, webhooks: list[Webhook], options: argparse.Namespace) -> None:
    async with running_partner(
        script=script,
        clock=time.monotonic,
        port=options.port,
        webhooks=webhooks,
        apps=[options.app],
        journal=options.keep,
    ) as running:
        stopped = asyncio.Event()
        stop_on_signals(stopped)
        print(f"ready partner={running.url}", flush=True)  # noqa: T201
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
