"""What a caller's token costs once it is known."""

import asyncio
import json
import time
from collections.abc import Iterator

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from shared.authentication import SigningKeys, TokenRules, TokenVerifier

from .harness import Benchmark

ISSUER, AUDIENCE = "https://login.example.com/tenant/v2.0", "api://sluice"
KNOWN, FULL = 20_000, 400


async def _measure(rounds: int) -> list[float]:
    key = generate_private_key(65_537, 2_048)
    published = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "one", "use": "sig"}

    async def fetch(_: str) -> bytes:
        return json.dumps({"keys": [published]}).encode()

    rules = TokenRules(ISSUER, (AUDIENCE,))
    remembering = TokenVerifier(rules, SigningKeys(ISSUER, "https://login.example.com/keys", fetch))
    forgetting = TokenVerifier(rules, SigningKeys(ISSUER, "https://login.example.com/keys", fetch), size=0)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 3_600, "azp": "shop", "roles": ["producer"]}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"}).encode()
    for checks in (remembering, forgetting):
        await checks.caller(token)

    async def seconds(checks: TokenVerifier, count: int) -> float:
        started = time.process_time()
        for _ in range(count):
            await checks.caller(token)
        return (time.process_time() - started) / count

    return [await seconds(remembering, KNOWN) / await seconds(forgetting, FULL) for _ in range(rounds)]


def _rounds(rounds: int) -> Iterator[float]:
    yield from asyncio.run(_measure(rounds))


BENCHMARKS = [
    Benchmark(
        name="caller-cached",
        claim="processor time to find a known token's caller / to check the token in full (RS256, 2,048 bits)",
        goal=0.05,
        better="lower",
        rounds=_rounds,
    )
]
