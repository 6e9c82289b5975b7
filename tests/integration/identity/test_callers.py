"""The API and a real issuer: tokens as clients get them, keys that change while requests come, an issuer that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import integrations
from functions.composition import CAPABILITIES, Composition
from functions.composition.api import gathered_app
from shared.messages import discover
from shared.settings import Settings
from tests.integration.conftest import RunningIssuer, running_issuer
from tests.unit.asgi import ask

NOWHERE = {
    "ServiceBus": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "EventHubs": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "SLUICE_OPERATION_KEY": "not-a-secret-but-thirty-two-long!",
}


class Api:
    """The app, called in memory; what it asks of the issuer goes over the wire."""

    def __init__(self, issuer: RunningIssuer) -> None:
        self.composition = Composition(Settings.load({**NOWHERE, **issuer.settings}), discover(integrations))
        self._app = gathered_app(self.composition, [make(self.composition) for make in CAPABILITIES])

    async def status(self, token: str) -> int:
        """What a request for an operation that isn't there is answered: 404 for whoever is let in."""
        headers = {"authorization": f"Bearer {token}"}
        return (await ask(self._app, "GET", "/api/operations/made-up", headers=headers)).status


@asynccontextmanager
async def api(issuer: RunningIssuer) -> AsyncIterator[Api]:
    """An app that knows nothing yet."""
    found = Api(issuer)
    try:
        yield found
    finally:
        await found.composition.close()


async def test_tokens_of_the_issuer_are_taken(issuer: RunningIssuer) -> None:
    """The right audience, a role of ours; nothing else."""
    async with api(issuer) as app:
        assert await app.status(issuer.token(roles=("producer",))) == 404
        assert await app.status(issuer.token(roles=("guest",))) == 403
        assert await app.status(issuer.token(audience="api://another")) == 401
        assert await app.status(issuer.token()[:-4] + "AAAA") == 401


async def test_signing_keys_change_under_traffic(issuer: RunningIssuer) -> None:
    """Old and new tokens go on: no request fails while the issuer changes its key twice."""
    async with api(issuer) as app:
        tokens = [issuer.token()]
        seen: list[int] = []
        done = asyncio.Event()

        async def traffic() -> None:
            while not done.is_set():
                for token in tokens:
                    seen.append(await app.status(token))
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            group.create_task(traffic())
            for number in range(2):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(issuer.rotate)
                tokens.append(await asyncio.to_thread(issuer.token, client=f"after-{number}"))
                await asyncio.sleep(0.1)
            done.set()
        assert set(seen) == {404}
        assert len(seen) > 20


async def test_an_issuer_that_dies_fails_nobody_who_is_known(project: Path, tmp_path: Path) -> None:
    """Keys that were had serve on; an app that starts meanwhile can't tell, and can as soon as it is back."""
    with running_issuer(tmp_path) as issuer:
        token, other = issuer.token(), issuer.token(client="other")
        async with api(issuer) as app:
            assert await app.status(token) == 404
    async with api(issuer) as late:
        assert [await app.status(token), await app.status(other)] == [404, 404]
        assert await late.status(token) == 503
        with running_issuer(tmp_path, port=issuer.address.port):
            await asyncio.sleep(1.1)
            assert await late.status(token) == 404


@pytest.mark.parametrize("count", [300])
async def test_a_flood_of_strange_tokens_leaves_the_others_alone(issuer: RunningIssuer, count: int) -> None:
    """Each costs a 401; a known caller is answered all the while."""
    async with api(issuer) as app:
        token = issuer.token()
        assert await app.status(token) == 404
        head, body, end = token.split(".")
        strange = [f"{head[:20]}{number:04d}{head[24:]}.{body}.{end}" for number in range(count)]
        answers = await asyncio.gather(*(app.status(one) for one in strange), *(app.status(token) for _ in range(50)))
        assert set(answers[:count]) == {401}
        assert set(answers[count:]) == {404}
