"""Ingestion: commands over HTTP on their way to the lanes, and what became of them."""

from uuid import uuid4

from functions.commands import Commands
from shared.http import Intake

from .capability import Capability
from .claims import claim_store
from .composition import Composition
from .operations import operation_signer
from .sending import lane_senders
from .state import state_store

__all__ = ["capability", "intake"]


def intake(composition: Composition) -> Intake:
    """Takes commands in."""
    settings = composition.settings
    return Intake(
        registry=composition.registry,
        claims=composition.get(claim_store),
        lanes=composition.get(lane_senders),
        claim_threshold=settings.claim_threshold_bytes,
        buckets=settings.state_buckets,
        now=composition.now,
        new_id=uuid4,
    )


def capability(composition: Composition) -> Capability:
    """A route for any command, one for each handler that has its own, and one for operations."""
    commands = Commands(
        lambda: composition.get(intake),
        lambda: composition.get(state_store),
        composition.get(operation_signer),
        max_body=composition.settings.max_body_bytes,
        now=composition.now,
    )

    async def probe() -> None:
        await composition.get(lane_senders).probe()

    return Capability(
        name="ingestion",
        routes=commands.routes(composition.registry.routes),
        probes={"service-bus": probe},
        settings=["SLUICE_OPERATION_KEY", "SLUICE_MAX_BODY_BYTES"],
    )
