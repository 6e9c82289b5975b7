"""The partners that the app declares, simulated in the stack's own process: nothing is started, and little is used.

`local/partners/NAME.json` is a partner's script (see `local_azure.partner`), and says beside it what the app is given
to talk to it: `secrets` of the vault, and `settings` where the user has none of them.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.stack.ports import settle
from local_azure.partner import Script
from local_azure.partner.server import RunningPartner, running_partner
from local_azure.partner.webhooks import webhooks_of

__all__ = ["PartnerScripts", "running_partners"]

_FIRST_PORT = 5330
_NONE = '{"rules": []}'


@dataclass(frozen=True)
class PartnerScripts:
    """The scripts of the partners that the app declares, by name; empty where there is none.

    Attributes
    ----------
    names:
        What each is called in `SLUICE_PARTNER_URLS`: a partner with several targets has a name for each.
    """

    texts: Mapping[str, str]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Path) -> PartnerScripts:
        """Those of a project, by what `dev.py declare` wrote of it."""
        try:
            declared = json.loads((project / "infra" / "declarations.json").read_text(encoding="utf-8"))["partners"]
        except (FileNotFoundError, KeyError):
            declared = []
        names = {
            one["name"]: [one["name"], *(f"{one['name']}.{to}" for to in one.get("targets", ()))] for one in declared
        }
        return cls({name: _text(project / "local" / "partners" / f"{name}.json") for name in sorted(names)}, names)

    @property
    def secrets(self) -> dict[str, str]:
        """What the vault holds for the app to talk to them."""
        return {name: value for text in self.texts.values() for name, value in _part(text, "secrets").items()}

    def settings(self, running: Mapping[str, RunningPartner]) -> dict[str, str]:
        """What the app is set to for them, where the user has no settings of his own."""
        own = {name: value for one in running for name, value in _part(self.texts[one], "settings").items()}
        return {**own, "SLUICE_PARTNER_URLS": ""} if running else {}

    def urls(self, given: str, running: Mapping[str, RunningPartner]) -> str:
        """`SLUICE_PARTNER_URLS`: what the user gives, and the simulated partner of every other name."""
        known = {one.partition("=")[0].strip() for one in given.split(",")}
        own = [(name, one.url) for partner, one in running.items() for name in self.names[partner]]
        return ",".join([*([given] if given else []), *(f"{name}={url}" for name, url in own if name not in known)])


@asynccontextmanager
async def running_partners(
    scripts: PartnerScripts, folder: Path, apps: Sequence[str], *, first: int | None
) -> AsyncIterator[dict[str, RunningPartner]]:
    """Run them until the block ends.

    Parameters
    ----------
    folder:
        Where they keep what they made.
    apps:
        Addresses of the app, for their webhooks.
    first:
        Port of the first; the others follow. None is the default, or any free one; 0 any free one.

    Raises
    ------
    ValueError
        A script can't be followed.
    OSError
        The port that was asked for is taken.
    """
    async with AsyncExitStack() as resources:
        started: dict[str, RunningPartner] = {}
        for number, (name, text) in enumerate(scripts.texts.items()):
            script = Script(random=random.Random(name).random)  # noqa: S311 - a run can be repeated
            script.read(text)
            wanted = first + number if first else first
            started[name] = await _running(resources, script, text, folder / f"{name}.jsonl", apps, wanted, number)
        yield started


async def _running(
    resources: AsyncExitStack,
    script: Script,
    text: str,
    journal: Path,
    apps: Sequence[str],
    wanted: int | None,
    number: int,
) -> RunningPartner:
    ports = [wanted] if wanted is not None else [settle(None, _FIRST_PORT + number) or 0, 0]
    for port in ports:
        try:
            return await resources.enter_async_context(
                running_partner(
                    script=script,
                    clock=time.monotonic,
                    port=port,
                    webhooks=webhooks_of(text),
                    apps=apps,
                    journal=journal,
                )
            )
        except OSError:
            if port == ports[-1]:
                raise
    raise LookupError("there is a port")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else _NONE


def _part(text: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text).get(name, {})
    return found
