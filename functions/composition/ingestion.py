"""Ingestion: commands over HTTP on their way to the lanes, and what became of them."""

from uuid import uuid4

from functions.commands import Commands
from functions.operations import Operations
from shared.health import Check
from shared.http import Intake
from shared.synthetic import EVENT_TYPE

from .capability import Capability
from .claims import CLAIMS, claim_store
from .composition import Composition
from .declaring import Access, Need, Vault
from .encryption import KEY_NEEDS, fields
from .operations import operation_signer
from .sending import lane_senders, to_lanes
from .state import STATE, state_store
from .uploads import upload_endpoints

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
        refuse_unknown_fields=settings.refuse_unknown_fields,
    )


def capability(composition: Composition) -> Capability:
    """A route for any command, one for each handler that has its own, and one for operations."""
    protection = composition.get(fields)
    taken = (one for one in composition.registry.accepted if one.webhook is None and not one.internal)
    handled = [one for one in taken if one.event_type != EVENT_TYPE]
    operations = Operations(
        state=lambda: composition.get(state_store),
        signer=composition.get(operation_signer),
        registry=composition.registry,
        protect=None if protection is None else protection.payload_hashes,
        public_path=composition.settings.public_path,
        now=composition.now,
    )
    commands = Commands(
        lambda: composition.get(intake),
        composition.get(operation_signer),
        operations,
        composition.get(upload_endpoints),
        max_body=composition.settings.max_body_bytes,
        public_path=composition.settings.public_path,
        now=composition.now,
    )

    async def probe() -> None:
        await composition.get(lane_senders).probe()

    return Capability(
        name="ingestion",
        routes=[*commands.routes(composition.registry.routes, handled), *operations.routes()],
        probes={"service-bus": Check(ask=probe, interval=10, timeout=4, threshold=1.5)},
        needs=[
            *to_lanes("The API puts commands here, by their lane."),
            Need(access=Access.WRITE, to=CLAIMS, why="Keeps large payloads before it answers 202."),
            Need(access=Access.READ, to=STATE, why="Tells what became of a message: one read of its inbox record."),
            Need(
                access=Access.SECRETS,
                to=Vault(),
                why="Reads the key that signs operation ids.",
                when="KeyVault__vaultUri",
            ),
            *KEY_NEEDS,
        ],
        settings=["SLUICE_OPERATION_KEY", "SLUICE_MAX_BODY_BYTES", "SLUICE_PUBLIC_URL", "SLUICE_REFUSE_UNKNOWN_FIELDS"],
    )
