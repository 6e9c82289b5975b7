"""Command line of the functions host: `python -m local_azure.host --app DIR --port PORT`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from local_azure.host.errors import HostError
from local_azure.host.logs import configure_host_log
from local_azure.host.runtime import HostArguments, run_host

_QUIET = "SLUICE_HOST_QUIET"


def _arguments() -> HostArguments:
    parser = argparse.ArgumentParser(prog="local-azure host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py and host.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7071, help="HTTP port, 0 for any free one (7071)")
    parser.add_argument("--instance", default="", help="name of this instance among several, for logs and leases")
    parser.add_argument("--quiet", action="store_true", help=f"no line per invocation (also {_QUIET}=1)")
    parser.add_argument("--quiet-timers", action="store_true", help="no line for a run of a timer that succeeds")
    parser.add_argument(
        "--log", choices=("text", "json"), default="text", help="how the host's lines are written (text)"
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="ask for function, host and system keys as Azure does; made if missing",
    )
    parser.add_argument(
        "--hang-forged-ids", action="store_true",
        help="leave streams requests with an x-ms-invocation-id unanswered, as Azure does, instead of refusing them",
    )  # fmt: skip
    given = parser.parse_args()
    if not 0 <= given.port <= 65535:
        parser.error(f"--port {given.port} is not between 0 and 65535")
    quiet = given.quiet or os.environ.get(_QUIET, "") in ("1", "true")
    instance = given.instance or f"local-{os.getpid()}"
    arguments = HostArguments(
        app=given.app.resolve(), host=given.host, port=given.port, instance=instance, keys=given.keys,
        hang_forged_ids=given.hang_forged_ids, quiet_timers=given.quiet_timers, json_log=given.log == "json",
    )  # fmt: skip
    configure_host_log(quiet=quiet, as_json=arguments.json_log)
    return arguments


async def _run(arguments: HostArguments) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stop.set)
    await run_host(arguments, stop)


def main() -> int:
    """Run the host; 0 after a clean stop, 2 with one line on stderr if it cannot start."""
    arguments = _arguments()
    try:
        asyncio.run(_run(arguments))
    except HostError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    # Threads of sync functions that never end must not keep the process alive.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
