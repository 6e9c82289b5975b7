"""The app's clients and capabilities: one of each per process, made on the event loop when first needed."""

import logging
import random
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from shared.authentication import Authenticator, Fetcher, SigningKeys, TokenRules, TokenVerifier
from shared.azure_clients import Credentials, proxied
from shared.blobs import BlobSweeper, ValueStore
from shared.claim_check import ClaimStore
from shared.dead_letters import DeadLetterStore
from shared.encryption import MessageEncryption
from shared.environment import Connection, WrongSettings
from shared.http import Intake, OperationIds
from shared.http.settings import MIN_KEY
from shared.messages import Lane, Registry
from shared.privacy import FieldProtection
from shared.processing import BatchProcessor, Decoder, Limits, OrderedKeys, ParkingDrain, Runner, Settler
from shared.query import Projector, ReadModels
from shared.resilience import LaneTurns, RetryBudget, RetryPlan, Share, WeightedBulkhead
from shared.rotation import AuditTrail, Renew, Rotator, SecretEvents, random_key
from shared.secrets import Keys, Policy, RotatingKey, SecretCache, Vault, VaultPair
from shared.sending import CoalescingSender, EventPublisher, Lanes
from shared.settings import Settings
from shared.state import InboxSweeper, Lease, Outbox, Parking, StateStore
from shared.tables import Table
from shared.tables.azure import AzureTable
from shared.telemetry import log_event

from .callers import ApiKeySource
from .protection import Protection

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
    from azure.storage.blob.aio import ContainerClient

__all__ = ["Services"]

STATE_TABLE = "state"
VIEWS_TABLE = "readmodels"
AUDIT_TABLE = "audit"
DEAD_LETTERS_TABLE = "deadletters"
VALUES_CONTAINER = "state-values"
DEAD_LETTERS_CONTAINER = "dead-letters"
OUTBOX_SETTLE_SECONDS = 10
LANE_SHARES = {
    Lane.HIGH: Share(weight=70, slice=64),
    Lane.NORMAL: Share(weight=20, slice=16),
    Lane.ORDERED: Share(weight=15, slice=16),
    Lane.LOW: Share(weight=12, slice=2),
}
"""Weights of the lanes at the handlers' places, so that low keeps a tenth while every lane has work, and the pieces in
which a lane's batches go while a heavier one is at work: a high message waits for two low ones at most."""
PARKING_LEASE_SECONDS = 90
ROTATION_LEASE_SECONDS = 90
REWRAP_LEASE_SECONDS = 300


def _now() -> datetime:
    return datetime.now(UTC)


class Services:
    """Everything the triggers need, from settings and registry. Nothing connects before it is used."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self.now = _now
        self._credentials = Credentials(settings.cloud)
        self._fetcher = Fetcher()
        self._operation_keys = RotatingKey(settings.operation_key, lambda: self.secrets, least=MIN_KEY)
        self._operations: tuple[Keys, OperationIds] | None = None
        self._budgets: dict[str, RetryBudget] = {}
        if settings.data_key is None:
            log_event("nothing is sealed", missing="SLUICE_DATA_KEY")

    @cached_property
    def intake(self) -> Intake:
        """Takes commands in."""
        return Intake(
            registry=self.registry,
            claims=self.claims,
            lanes=self.lanes,
            claim_threshold=self.settings.claim_threshold_bytes,
            buckets=self.settings.state_buckets,
            now=self.now,
            new_id=uuid4,
        )

    async def operations(self) -> OperationIds:
        """Signs and reads operation ids, with the keys of the moment.

        Raises
        ------
        SecretError
            The key is a secret that can't be had.
        """
        keys = await self._operation_keys.keys()
        if self._operations is None or self._operations[0] is not keys:
            self._operations = (keys, OperationIds(*keys.accepted))
        return self._operations[1]

    @cached_property
    def authenticator(self) -> Authenticator | None:
        """Finds out who calls; None where callers aren't checked.

        Raises
        ------
        WrongSettings
            Nothing says how callers are known.
        """
        settings = self.settings
        if settings.auth == "none":
            log_event("callers aren't checked", level=logging.WARNING, setting="SLUICE_AUTH")
            return None
        if settings.auth_issuer is None and settings.api_keys is None:
            raise WrongSettings(
                "Wrong settings: SLUICE_AUTH_ISSUER and SLUICE_API_KEYS are missing, so nobody could call the API: "
                "set one or both, or SLUICE_AUTH=none to let everybody in"
            )
        tokens = None
        if settings.auth_issuer is not None:
            rules = TokenRules(settings.auth_issuer, settings.audiences)
            tokens = TokenVerifier(rules, SigningKeys(settings.auth_issuer, settings.auth_jwks_uri, self._fetcher))
        keys = None
        if settings.api_keys is not None:
            keys = ApiKeySource(settings.api_keys, lambda: self.secrets)
        return Authenticator(tokens, keys)

    @cached_property
    def vaults(self) -> tuple[Vault, ...]:
        """The key vault, and the one of another region where there is one.

        Raises
        ------
        WrongSettings
            There is none.
        """
        connection = self.settings.key_vault
        if connection is None:
            raise WrongSettings("Wrong settings: KeyVault__vaultUri: is missing")
        reads = self.settings.secret_reads_per_10_seconds
        return tuple(
            Vault(uri, lambda: self._credentials.get(connection), reads_per_10_seconds=reads)
            for uri in connection.vaults
        )

    @cached_property
    def secret_events(self) -> SecretEvents:
        """Takes what the vault tells of its secrets."""
        rotator = Rotator(
            self._renewals(),
            store=self.vaults[0],
            lease=lambda name: Lease(self.state, f"rotate-{name}", seconds=ROTATION_LEASE_SECONDS, now=self.now),
            audit=self._audit,
            changed=self.secrets.changed,
            overlap=timedelta(seconds=self.settings.secret_overlap_seconds),
            actor=(self.settings.key_vault and self.settings.key_vault.client_id) or "developer",
            now=self.now,
        )
        addresses = [vault.address for vault in self.vaults]
        return SecretEvents(self.secrets, rotator, vaults=addresses, now=self.now)

    def _renewals(self) -> dict[str, Renew]:
        """The integrations' own, and the operation key's unless one of them has that too."""
        reference = self._operation_keys.reference
        ours: dict[str, Renew] = {reference.name.lower(): random_key()} if reference and not reference.version else {}
        return ours | {name: rotation.call for name, rotation in self.registry.rotations.items()}

    @cached_property
    def _audit(self) -> AuditTrail:
        return AuditTrail(self._first_table(AUDIT_TABLE))

    @cached_property
    def secrets(self) -> SecretCache:
        """Every secret of the app."""
        settings = self.settings
        policy = Policy(
            ttl=settings.secret_ttl_seconds,
            stale=settings.secret_stale_seconds,
            timeout=settings.secret_timeout_seconds,
            overlap=settings.secret_overlap_seconds,
        )
        source = VaultPair(self.vaults, timeout=policy.timeout)
        return SecretCache(source, policy, preload=settings.preloaded_secrets, now=self.now)

    @cached_property
    def protection(self) -> Protection | None:
        """The app's keys and what seals with them; None where SLUICE_DATA_KEY isn't set."""
        connection = self.settings.key_vault
        if self.settings.data_key is None or connection is None:
            return None
        return Protection(
            self.settings,
            secrets=lambda: self.secrets,
            credential=lambda: self._credentials.get(connection),
            table=self._first_table,
            lease=lambda name: Lease(self.state, name, seconds=REWRAP_LEASE_SECONDS, now=self.now),
            now=self.now,
        )

    @property
    def encryption(self) -> MessageEncryption | None:
        """Seals and opens whole messages, where there is a key."""
        return None if self.protection is None else self.protection.messages

    @cached_property
    def decoder(self) -> Decoder:
        """Reads deliveries."""
        return Decoder(
            self.registry,
            self.claims,
            buckets=self.settings.state_buckets,
            encryption=self.encryption,
            fingerprints=None if self.fields is None else self.fields.payload_hashes,
        )

    @cached_property
    def fields(self) -> FieldProtection | None:
        """Seals and opens protected fields; None where SLUICE_DATA_KEY isn't set."""
        if self.protection is None:
            return None
        protection = self.protection
        return FieldProtection(protection.data_keys, protection.subject_keys, protection.token_keys)

    @cached_property
    def processor(self) -> BatchProcessor:
        """Processes the batches of all lanes."""
        settings = self.settings
        limits = Limits(handler_timeout=settings.handler_timeout_seconds, batch_budget=settings.batch_budget_seconds)
        runner = Runner(
            registry=self.registry,
            load=self.state.find,
            buckets=settings.state_buckets,
            gate=WeightedBulkhead(
                settings.handler_concurrency, {lane: share.weight for lane, share in LANE_SHARES.items()}
            ),
            plan=RetryPlan(
                max_attempts=settings.retry_max_attempts,
                base=settings.retry_base_seconds,
                cap=settings.retry_cap_seconds,
            ),
            limits=limits,
            source=settings.event_source,
            values=self.values,
            fields=self.fields,
            secrets=self.secrets if settings.key_vault is not None else None,
            now=self.now,
            random=random.random,
        )
        return BatchProcessor(
            decoder=self.decoder,
            store=self.state,
            runner=runner,
            outbox=self.outbox,
            settler=self._settler,
            limits=limits,
            ordered=self._ordered,
            turns=LaneTurns(LANE_SHARES),
        )

    @cached_property
    def _settler(self) -> Settler:
        settings = self.settings
        return Settler(
            store=self.state,
            lanes=self.lanes,
            dead_letters=self.dead_letters,
            budget=self._budget,
            spent_delay=settings.retry_cap_seconds,
            source=settings.event_source,
            now=self.now,
        )

    @cached_property
    def parking(self) -> Parking:
        """The parked keys of the ordered lane, and what waits behind them."""
        return Parking(self.state, now=self.now)

    @cached_property
    def _ordered(self) -> OrderedKeys:
        return OrderedKeys(self.parking, self._settler, now=self.now)

    @cached_property
    def parking_drain(self) -> ParkingDrain:
        """Processes what waits on the ordered lane."""
        lease = Lease(self.state, "parking", seconds=PARKING_LEASE_SECONDS, now=self.now)
        return ParkingDrain(self.parking, self._ordered, self.processor, lease=lease, now=self.now)

    def _budget(self, integration: str) -> RetryBudget:
        if integration not in self._budgets:
            self._budgets[integration] = RetryBudget(
                share=self.settings.retry_budget_share, reserve=100, trickle=1, clock=time.monotonic
            )
        return self._budgets[integration]

    @cached_property
    def projector(self) -> Projector:
        """Keeps the read models."""
        return Projector(self.registry, self.views, self.dead_letters, now=self.now, fields=self.fields)

    @cached_property
    def outbox(self) -> Outbox:
        """Publishes what was committed, and what a crash left behind."""
        return Outbox(
            self.state,
            self.publisher,
            self.lanes,
            now=self.now,
            settle_for=timedelta(seconds=OUTBOX_SETTLE_SECONDS),
            fields=self.fields,
        )

    @cached_property
    def lanes(self) -> Lanes:
        """The senders of all lanes, on one connection."""
        names = {
            Lane.HIGH: self.settings.lane_high,
            Lane.NORMAL: self.settings.lane_normal,
            Lane.LOW: self.settings.lane_low,
            Lane.ORDERED: self.settings.lane_ordered,
        }
        timeout = self.settings.send_timeout_seconds
        senders = {lane: CoalescingSender(self._opener(name), timeout=timeout) for lane, name in names.items()}
        return Lanes(senders, self.encryption)

    def _opener(self, queue: str) -> "_Opener":
        return _Opener(self, queue)

    @cached_property
    def service_bus(self) -> ServiceBusClient:
        """The one connection to Service Bus."""
        connection = self.settings.service_bus
        if connection.connection_string is not None:
            return ServiceBusClient.from_connection_string(connection.connection_string.get_secret_value())
        return ServiceBusClient(connection.address or "", self._credentials.get(connection))

    @cached_property
    def publisher(self) -> EventPublisher:
        """Publishes facts."""
        return EventPublisher(self._producer())

    def _producer(self) -> "EventHubProducerClient":
        from azure.eventhub.aio import EventHubProducerClient  # loaded with the first fact

        connection, hub = self.settings.event_hubs, self.settings.event_hub
        if connection.connection_string is not None:
            secret = connection.connection_string.get_secret_value()
            return EventHubProducerClient.from_connection_string(secret, eventhub_name=hub)
        return EventHubProducerClient(connection.address or "", hub, self._credentials.get(connection))

    def event_reader(self) -> "EventHubConsumerClient":
        """A client that reads the event log from its beginning."""
        from azure.eventhub.aio import EventHubConsumerClient

        connection, hub = self.settings.event_hubs, self.settings.event_hub
        if connection.connection_string is not None:
            secret = connection.connection_string.get_secret_value()
            return EventHubConsumerClient.from_connection_string(secret, "$Default", eventhub_name=hub)
        return EventHubConsumerClient(
            connection.address or "", hub, "$Default", credential=self._credentials.get(connection)
        )

    def tables_of_state(self) -> list[Table]:
        """Clients of the state table, one for each account."""
        connection = self.settings.state
        return [self._table(connection, account, STATE_TABLE) for account in connection.accounts]

    def table_of_views(self) -> Table:
        """A client of the table of the read models."""
        return self._first_table(VIEWS_TABLE)

    @cached_property
    def state(self) -> StateStore:
        """Inbox, state and outbox."""
        connection = self.settings.state
        tables = [self._table(connection, account, STATE_TABLE) for account in connection.accounts]
        return StateStore(tables, buckets=self.settings.state_buckets)

    @cached_property
    def views(self) -> ReadModels:
        """The read models."""
        return ReadModels(self._first_table(VIEWS_TABLE))

    @cached_property
    def dead_letters(self) -> DeadLetterStore:
        """The dead-letter store."""
        table, bodies = self._first_table(DEAD_LETTERS_TABLE), self._container(DEAD_LETTERS_CONTAINER)
        return DeadLetterStore(table, bodies, encryption=self.encryption)

    @cached_property
    def claims(self) -> ClaimStore:
        """Large payloads."""
        keys = self.protection.data_keys if self.protection is not None else None
        container = self._container(self.settings.claim_container)
        return ClaimStore(container, keys=keys, encrypt=self.settings.encrypts_claims)

    @cached_property
    def values(self) -> ValueStore:
        """State values that are too large for an entity."""
        return ValueStore(self._container(VALUES_CONTAINER))

    @cached_property
    def value_sweeper(self) -> BlobSweeper:
        """Deletes large values that no row refers to any more."""
        return self.values.sweeper(in_use=self.state.values_in_use, retention=timedelta(days=1), now=self.now)

    @cached_property
    def inbox_sweeper(self) -> InboxSweeper:
        """Forgets messages that were dealt with long ago."""
        retention = timedelta(days=self.settings.inbox_retention_days)
        return InboxSweeper(self.state, retention=retention, now=self.now)

    @cached_property
    def claim_sweeper(self) -> BlobSweeper:
        """Deletes the payloads of messages that are long gone."""
        retention = timedelta(days=self.settings.claim_retention_days)
        return self.claims.sweeper(in_use=self._claims_in_use, retention=retention, now=self.now)

    async def _claims_in_use(self, names: Collection[str]) -> Collection[str]:
        dead = {name async for name in self.dead_letters.claims() if name in names}
        return dead | {name async for name in self.parking.claims() if name in names}

    def _first_table(self, name: str) -> Table:
        return self._table(self.settings.state, self.settings.state.accounts[0], name)

    def _table(self, connection: Connection, account: str, name: str) -> Table:
        if connection.connection_string is not None:
            return AzureTable.from_connection_string(account, name)
        return AzureTable.at(account, name, self._credentials.get(connection))

    def _container(self, name: str) -> "ContainerClient":
        from azure.storage.blob.aio import ContainerClient  # loaded with the first claim

        connection = self.settings.claims
        if connection.connection_string is not None:
            secret = connection.connection_string.get_secret_value()
            return ContainerClient.from_connection_string(secret, name, use_env_settings=proxied())
        credential = self._credentials.get(connection)
        return ContainerClient(connection.address or "", name, credential=credential, use_env_settings=proxied())

    async def close(self) -> None:
        """Close what was opened; production's worker never calls this, tests and benchmarks do."""
        made = vars(self)
        for name in ("lanes", "outbox", "publisher", "state", "views", "dead_letters", "claims", "values"):
            if name in made:
                await made[name].close()
        if self.__dict__.get("protection") is not None:
            await made["protection"].close()
        if "_audit" in made:
            await self._audit.close()
        if "secrets" in made:
            await self.secrets.close()
        if "service_bus" in made:
            await self.service_bus.close()
        if made.get("authenticator") is not None:
            await made["authenticator"].close()
        await self._fetcher.close()
        await self._credentials.close()


class _Opener:
    """Opens a queue's sender on the shared connection, when its first message goes."""

    def __init__(self, services: Services, queue: str) -> None:
        self._services = services
        self._queue = queue

    def __call__(self) -> ServiceBusSender:
        return self._services.service_bus.get_queue_sender(self._queue)
