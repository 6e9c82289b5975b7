"""Claim check: large payloads beside their messages, and how a delivery is read with them."""

from shared.claim_check import ClaimStore
from shared.claim_check.settings import ClaimSettings
from shared.health import Check
from shared.processing import Decoder
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .declaring import Container
from .encryption import data_keys, fields, message_encryption
from .platform import platform

__all__ = ["CLAIMS", "capability", "claim_store", "decoder"]

CLAIMS = Container(name="%SLUICE_CLAIM_CONTAINER%")


def claim_store(composition: Composition) -> ClaimStore:
    """Large payloads."""
    settings = composition.settings
    container = composition.get(platform).container(settings.claim_container)
    return composition.closing(ClaimStore(container, keys=composition.get(data_keys), encrypt=settings.encrypts_claims))


def decoder(composition: Composition) -> Decoder:
    """Reads deliveries."""
    protection = composition.get(fields)
    return Decoder(
        composition.registry,
        composition.get(claim_store),
        buckets=composition.settings.state_buckets,
        encryption=composition.get(message_encryption),
        refuse_erased=None if protection is None else protection.refuse_erased,
        payload_hashes=None if protection is None else protection.payload_hashes,
    )


def capability(composition: Composition) -> Capability:
    """A container and whether it answers; whoever sends or reads messages asks the store."""

    async def probe() -> None:
        await composition.get(claim_store).probe()

    return Capability(
        name="claim-check",
        probes={"claims": Check(ask=probe, weight=0.5)},
        metrics=[Metrics.claim_size],
        resources=[CLAIMS],
        settings=ClaimSettings.variables(),
    )
