"""Rotation: what the vault tells of its secrets, and the next versions of those that are about to expire."""

from datetime import timedelta
from functools import partial

from functions.dead_letters import drain_dead_letters
from functions.rotation import rotation_functions
from functions.triggers import AppName
from shared.jobs import Job, JobRun, parse_schedule
from shared.rotation import AuditTrail, GivenUpEvents, Renew, Rotator, SecretEvents, random_key
from shared.rotation.settings import RotationSettings
from shared.state import Lease

from .capability import Capability
from .composition import Composition
from .dead_letters import (
    AUDIT_TABLE,
    DEAD_LETTER_BODIES,
    DEAD_LETTERS,
    DRAIN_SECONDS,
    LAST_SECONDS,
    dead_letter_store,
)
from .declaring import Access, Need, Queue, Table, Vault
from .operations import operation_keys
from .platform import platform
from .secrets import secret_cache, vaults
from .state import STATE, state_store

__all__ = ["audit_trail", "capability", "secret_events"]

ROTATION_LEASE_SECONDS = 90
ROTATION_QUEUE = "%SLUICE_ROTATION_QUEUE%"
QUEUE = Queue(name=ROTATION_QUEUE, lock="PT2M")
_DRAIN = "drain-secret-events"
_DRAIN_SCHEDULE = "1m"


def audit_trail(composition: Composition) -> AuditTrail:
    """Which secret got its next version, when and why."""
    return composition.closing(AuditTrail(composition.get(platform).table(AUDIT_TABLE)))


def renewals(composition: Composition) -> dict[str, Renew]:
    """The integrations' own, and the operation key's unless one of them has that too."""
    reference = composition.get(operation_keys).reference
    ours: dict[str, Renew] = {reference.name.lower(): random_key()} if reference and not reference.version else {}
    return ours | {name: rotation.call for name, rotation in composition.registry.rotations.items()}


def secret_events(composition: Composition) -> SecretEvents:
    """Takes what the vault tells of its secrets."""
    settings, store = composition.settings, composition.get(state_store)
    own = composition.get(vaults)
    secrets = composition.get(secret_cache)
    rotator = Rotator(
        composition.get(renewals),
        store=own[0],
        lease=lambda name: Lease(store, f"rotate-{name}", seconds=ROTATION_LEASE_SECONDS, now=composition.now),
        audit=composition.get(audit_trail),
        changed=secrets.changed,
        overlap=timedelta(seconds=settings.secret_overlap_seconds),
        actor=(settings.key_vault and settings.key_vault.client_id) or "developer",
        now=composition.now,
    )
    return SecretEvents(secrets, rotator, vaults=[vault.address for vault in own], now=composition.now)


def given_up_events(composition: Composition) -> GivenUpEvents:
    """Deals with what the broker gave up of the queue."""
    return GivenUpEvents(
        lambda: composition.get(secret_events), composition.get(dead_letter_store), now=composition.now
    )


def capability(composition: Composition) -> Capability:
    """Two ways in, one handler. Which one is used depends on what the vault's events are subscribed to."""

    async def drain(run: JobRun) -> bool:
        queue = composition.settings.rotation_queue
        receiver = partial(composition.get(platform).dead_letter_receiver, queue)
        return not await drain_dead_letters(
            {queue: (receiver, composition.get(given_up_events).drain)},
            time_left=lambda: run.time_left() > LAST_SECONDS,
        )

    return Capability(
        name="rotation",
        functions=rotation_functions(lambda: composition.get(secret_events), queue=ROTATION_QUEUE),
        resources=[QUEUE, Table(name=AUDIT_TABLE)],
        drained=[QUEUE.name],
        jobs=[
            Job(
                name=_DRAIN,
                app=AppName.STREAMS,
                schedule=parse_schedule(_DRAIN_SCHEDULE),
                call=drain,
                seconds=DRAIN_SECONDS,
            )
        ],
        needs=[
            Need(access=Access.RECEIVE, to=QUEUE, why="Takes what the broker gave up.", by=[_DRAIN]),
            Need(access=Access.WRITE, to=DEAD_LETTERS, why="Records events that nobody could take.", by=[_DRAIN]),
            Need(access=Access.WRITE, to=DEAD_LETTER_BODIES, why="Keeps their bodies.", by=[_DRAIN]),
            Need(
                access=Access.SET_SECRETS,
                to=Vault(),
                why="Gives secrets that are about to expire their next version.",
                when="KeyVault__vaultUri",
            ),
            Need(
                access=Access.WRITE,
                to=Table(name=AUDIT_TABLE),
                why="Records which secret was given its next version, when and why.",
            ),
            Need(access=Access.WRITE, to=STATE, why="Leases a secret while it is rotated."),
        ],
        settings=RotationSettings.variables(),
    )
