"""The command `local-azure`: runs one of the services until Ctrl-C or SIGTERM."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

__all__ = ["main"]

_SERVICES: Final = {
    "broker": ("Service Bus and Event Hubs over AMQP 1.0", "broker"),
    "host": ("a function app, as the Functions host runs it", "host"),
    "vault": ("a Key Vault over HTTPS", "keyvault"),
    "identity": ("an OpenID issuer and the managed identity endpoint", "identity"),
    "eventgrid": ("Event Grid: custom topics, subscriptions, retries and dead letters", "eventgrid"),
    "partner": ("somebody else's HTTP API, which fails as its script says", "partner"),
}
_EXTRAS: Final = ("host", "vault", "identity")
"""Services that need more than the distribution itself brings; the extras have their names."""


def main(arguments: list[str] | None = None) -> int:
    """Run the service that the command line names; give its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["--version"], ["-V"]):
        print(_version())  # noqa: T201
        return 0
    name = given[0] if given else ""
    if name not in _SERVICES:
        asked = name in ("-h", "--help")
        if name and not asked:
            print(f"local-azure: {name} is no service", file=sys.stderr)  # noqa: T201
        print(_usage(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    sys.argv = [f"local-azure {name}", *given[1:]]
    try:
        runpy.run_module(f"local_azure.{_SERVICES[name][1]}", run_name="__main__")  # ends by SystemExit
    except ModuleNotFoundError as error:
        if name not in _EXTRAS or (error.name or "").startswith("local_azure"):
            raise
        needs = f"needs {error.name}: pip install 'local-azure[{name}]'"
        print(f"local-azure: {name} {needs}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _usage() -> str:
    lines = [f"  {name:<11}{what}" for name, (what, _) in _SERVICES.items()]
    return "\n".join(("usage: local-azure SERVICE [options]", "", *lines, "", "local-azure SERVICE --help tells more."))


def _version() -> str:
    try:
        return version("local-azure")
    except PackageNotFoundError:
        return "not installed: run from its sources"


if __name__ == "__main__":
    raise SystemExit(main())
