"""`dev.py run`: starts the stack, replays orders through it, and says how it went."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.demo import DemoFailed, DemoOptions, Target, load_invoices, run_demo
from local.stack.ports import InternalPorts
from local.stack.stack import Stack, StackError, StackOptions

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]
_INTERRUPTED = 130


@dataclass(frozen=True)
class _RunOptions:
    stack: StackOptions
    demo: DemoOptions | None
    once: bool


def main(arguments: Sequence[str]) -> int:
    """Run until done or told to stop; return the exit code: 0 only if everything reconciled."""
    console = Console(stderr=False)
    parser = _parser()
    try:
        options = _options(parser.parse_args(arguments))
    except ValueError as error:
        parser.error(str(error))
    try:
        return asyncio.run(_main(options, console))
    except (StackError, DemoFailed) as error:
        _complain(str(error))
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


async def _main(options: _RunOptions, console: Console) -> int:
    invoices = load_invoices(options.demo) if options.demo is not None else []
    stack = Stack(options.stack, lambda text: console.print(text, markup=False, highlight=False, style="dim"))
    began = time.monotonic()
    code = _INTERRUPTED if options.once else 0
    with _stopping_on_signals(stack.kill), contextlib.suppress(asyncio.CancelledError):
        async with stack:
            _show(stack, console, time.monotonic() - began)
            if options.demo is not None:
                code = 0 if await run_demo(options.demo, invoices, await _target(stack), console) else 1
            elif options.once:
                code = 0
            if not options.once:
                console.print("Running until Ctrl-C.", style="dim")
                await asyncio.Event().wait()
    return code


@contextlib.contextmanager
def _stopping_on_signals(kill: Callable[[], None]) -> Iterator[None]:
    """Cancel the running task on the first Ctrl-C, SIGTERM or hang-up, and kill what is left on the second."""
    task = asyncio.current_task()
    assert task is not None
    told: list[int] = []

    def stop() -> None:
        told.append(1)
        if len(told) == 1:
            task.cancel()
        else:
            kill()

    if sys.platform == "win32":
        yield
        return
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _show(stack: Stack, console: Console, seconds: float) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_row("API", "  ".join(f"{url}/api" for url in stack.urls))
    table.add_row("Service Bus, Event Hubs", f"127.0.0.1:{stack.emulator.amqp}, status {stack.emulator.status_url}")
    azurite = stack.azurite
    table.add_row("Storage", f"blob {azurite.blob}, queue {azurite.queue}, table {azurite.table} (Azurite)")
    table.add_row("Identity", f"{stack.identity.url}, tokens with python3 dev.py token")
    table.add_row("Key Vault", f"{stack.vault.url}, faults and counters {stack.vault.admin_url}")
    if stack.partners:
        partners = ", ".join(f"{name} {one.url}" for name, one in stack.partners.items())
        table.add_row("Partners", f"{partners} (simulated)")
    if stack.keys_file is not None:
        keys = json.loads(stack.keys_file.read_text(encoding="utf-8"))
        table.add_row("Keys", f"function {keys['default']}, master {keys['master']}")
    table.add_row("Data, logs", f"{stack.data.path}, {stack.data.logs}")
    console.print(table, highlight=False)
    console.print(f"ready in {seconds:.1f} s", style="bold green", highlight=False)


async def _target(stack: Stack) -> Target:
    return Target(
        urls=tuple(stack.urls),
        token=await stack.token(client="demo", roles=("producer", "reader")),
        storage=stack.azurite.connection_string,
        broker=stack.emulator.connection_string,
        status_url=stack.emulator.status_url,
        logs=tuple(stack.host_logs),
        partners={name: one.url for name, one in stack.partners.items()},
        carrier=stack.settings.get("ORDERS_CARRIER", ""),
        settings=stack.data.settings if stack.settings.get("Lake") else None,
    )


def _complain(text: str) -> None:
    print(f"dev.py: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py run",
        description="Start a whole local Azure with the app in it, replay orders, print a reconciled summary.",
    )
    parser.add_argument("--once", action="store_true", help="stop after the summary")
    parser.add_argument("--orders", type=Path, metavar="FILE", help="a CSV or CSV.gz of invoice lines")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N invoices")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--no-demo", action="store_true", help="only start the stack")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="what the stack keeps (default: .sluice)")
    parser.add_argument(
        "--ports",
        type=int,
        metavar="BASE",
        help=f"move everything: the hosts from BASE on, the others from BASE + {_BEHIND} on",
    )
    parser.add_argument("--port", type=int, metavar="N", help="of the first host (default: 7071)")
    parser.add_argument("--instances", type=int, default=1, metavar="N", help="hosts that compete (default: 1)")
    parser.add_argument("--host", choices=("embedded", "func"), default="embedded", help="which functions host")
    parser.add_argument("--keys", action="store_true", help="ask for function and host keys, as Azure does")
    parser.add_argument("--no-reload", action="store_true", help="do not watch the source")
    for name in _PORT_NAMES:
        parser.add_argument(
            f"--{name.replace('_', '-')}-port",
            type=int,
            metavar="N",
            help=f"of {_PORT_NAMES[name]} (or SLUICE_{name.upper()}_PORT; 0: any free one)",
        )
    return parser


_PORT_NAMES = {
    "amqp": "Service Bus and Event Hubs",
    "admin": "the emulator's administration and status page",
    "blob": "Blob storage",
    "queue": "Queue storage",
    "table": "Table storage",
    "identity": "the OpenID issuer and managed identity",
    "vault": "the Key Vault",
    "vault_admin": "the Key Vault's faults and counters",
    "partners": "the first simulated partner",
}


_BEHIND = 64
"""Ports from BASE on that are the hosts': as many as there may be instances."""


def _options(given: argparse.Namespace) -> _RunOptions:
    if given.ports is not None and not 1 <= given.ports <= 65_535 - _BEHIND - len(_PORT_NAMES):
        raise ValueError(f"--ports must be from 1 to {65_535 - _BEHIND - len(_PORT_NAMES)}, not {given.ports}.")
    first = given.port if given.port is not None else given.ports
    data = given.data_dir if given.data_dir is not None else _PROJECT / ".sluice"
    stack = StackOptions(
        project=_PROJECT,
        data_directory=data.absolute(),
        port=7071 if first is None else first,
        instances=given.instances,
        host=given.host,
        ports=InternalPorts(**{name: _port(given, name) for name in _PORT_NAMES}),
        reload=not (given.once or given.no_reload),
        keys=given.keys,
    )
    demo = None if given.no_demo else DemoOptions(orders=given.orders, limit=given.limit, json=given.json)
    return _RunOptions(stack, demo, given.once)


def _port(given: argparse.Namespace, name: str) -> int | None:
    number: int | None = getattr(given, f"{name}_port")
    variable = f"SLUICE_{name.upper()}_PORT"
    if number is None and os.environ.get(variable):
        text = os.environ[variable]
        number = int(text) if text.isdecimal() else -1
    if number is None and given.ports is not None:
        number = given.ports + _BEHIND + list(_PORT_NAMES).index(name)
    if number is not None and not 0 <= number <= 65_535:
        raise ValueError(f"--{name.replace('_', '-')}-port (or {variable}) must be from 0 to 65535.")
    return number


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
