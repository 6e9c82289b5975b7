"""What a deployment of the infrastructure says about itself: its outputs name everything that a rollout touches."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .azure import AzureFailed, az

__all__ = ["Colour", "Deployment", "add_url"]


@dataclass(frozen=True)
class Colour:
    """One of two sets of apps behind the gateway: the name of its backend, its apps, and its own address."""

    backend: str
    apps: tuple[str, ...]
    url: str


@dataclass(frozen=True)
class Deployment:
    """Where the apps of one environment are.

    Attributes
    ----------
    apps:
        In the order of a rollout: those that nobody calls come first, so that a new kind of message finds its worker.
    url:
        Where clients call: the gateway, or the API's own app.
    releases:
        Storage account that keeps every zip.
    pool:
        Resource id of the gateway's backend pool, and the two colours behind it; without them a rollout is rolling.
    """

    resource_group: str
    apps: tuple[str, ...]
    url: str
    releases: str
    pool: str | None = None
    colours: tuple[Colour, ...] = ()

    @classmethod
    def read(cls, name: str) -> Deployment:
        """The newest deployment of that name; raises AzureFailed."""
        found = az(
            ["deployment", "sub", "show", "--name", name, "--query", "properties.outputs"],
            timeout=120.0,
        )
        return cls.from_outputs(found if isinstance(found, dict) else {})

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, Any]) -> Deployment:
        """Read the outputs of `infra/main.bicep`; raises AzureFailed for one that is missing."""
        values = {name.upper(): output.get("value") for name, output in outputs.items()}
        missing = [name for name in _REQUIRED if not values.get(name)]
        if missing:
            raise AzureFailed(f"the deployment has no output {', '.join(missing)}: deploy infra/main.bicep first")
        colours = tuple(
            Colour(str(one["backend"]), _in_order(one["apps"]), str(one["uri"]))
            for one in values.get("SLUICE_COLOURS") or []
        )
        return cls(
            resource_group=str(values["AZURE_RESOURCE_GROUP"]),
            apps=_in_order(values["SLUICE_APP_NAMES"]),
            url=str(values["SLUICE_API_URI"]),
            releases=str(values["SLUICE_PACKAGES_ACCOUNT"]),
            pool=values.get("SLUICE_BACKEND_POOL") or None,
            colours=colours,
        )


_REQUIRED = ("AZURE_RESOURCE_GROUP", "SLUICE_APP_NAMES", "SLUICE_API_URI", "SLUICE_PACKAGES_ACCOUNT")


def _in_order(apps: Sequence[Any]) -> tuple[str, ...]:
    """The template names the API's app first; it goes last."""
    first, *others = map(str, apps)
    return (*others, first)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Let a tool be pointed at an address or at a deployment."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="address of the API's app or of the gateway, without /api")
    where.add_argument("--deployment", metavar="NAME", help="read the address from a deployment's outputs")
