"""How the code at hand builds its parts; see `tests/golden/record.py`. It is kept as it is when a release is cut."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from azure.storage.blob.aio import ContainerClient

from shared.blobs import BodyStore, ValueStore
from shared.claim_check import Claim, ClaimStore
from shared.dead_letters import (
    MAX_RETURNS,
    RETURNS,
    DeadLetterStore,
    Decision,
    GivenUp,
    InboxRecords,
    QueueDrain,
    Redrive,
    Suspects,
)
from shared.encryption import DataKeys, DataKeyWrapper, KeyTable, MessageEncryption, SecretWrapper, SubjectKeys
from shared.messages import Delivery, Headers, Integration, Lane, Registry
from shared.ordered import OrderedKeys, Parking, ParkingDrain
from shared.outbox import Outbox
from shared.privacy import FieldProtection
from shared.processing import BatchProcessor, Decoder, Limits, Recent, Runner, Settler
from shared.query import Projector, ReadModels
from shared.resilience import LaneTurns, RetryBudget, RetryPlan, Share, WeightedBulkhead
from shared.rotation import AuditTrail
from shared.sending import CoalescingSender, EventPublisher, Lanes
from shared.state import Lease, StateStore
from shared.streams import StreamEvent
from shared.tables.azure import AzureTable
from shared.tokenization import TokenKeys

SOURCE = "/sluice"
BUCKETS = 4


class App:
    """The release's parts on real stores, with the scenario's clock, broker, hub and vault."""

    def __init__(self, stores: Any, *, clock: Any, broker: Any, hub: Any, vault: Any, integration: Integration) -> None:
        self.stores, self.clock, self.broker, self.hub = stores, clock, broker, hub
        self.registry = Registry([integration])
        self.tables: list[AzureTable] = []
        self.key_rows = [KeyTable(self._table("datakeys")), KeyTable(self._table("subjectkeys"))]
        wrapper = SecretWrapper(vault, "data-key")
        self.data_keys = DataKeys(self.key_rows[0], wrapper, now=clock, random_bytes=lambda size: b"\x11" * size)
        self.subject_keys = SubjectKeys(
            self.key_rows[1], DataKeyWrapper(self.data_keys), now=clock, random_bytes=lambda size: b"\x22" * size
        )
        self.token_keys = TokenKeys(vault, "token-key")
        self.fields = FieldProtection(self.data_keys, self.subject_keys, self.token_keys)
        self.encryption = MessageEncryption(self.data_keys, [Lane.HIGH])
        self.lanes = Lanes({lane: CoalescingSender(lambda: broker, timeout=10) for lane in Lane}, self.encryption)
        self.state = StateStore([self._table("state")], buckets=BUCKETS)
        self.claims = ClaimStore(self._container("claims"), keys=self.data_keys, encrypt=True)
        self.values = ValueStore(self._container("state-values"))
        self.views = ReadModels(self._table("readmodels"))
        self.dead_letters = DeadLetterStore(
            self._table("deadletters"), BodyStore(self._container("dead-letters")), encryption=self.encryption
        )
        self.audit = AuditTrail(self._table("audit"))
        self.publisher = EventPublisher(hub)
        self.outbox = Outbox(
            self.state, self.publisher, self.lanes, now=clock, settle_for=timedelta(seconds=10), fields=self.fields
        )
        self.parking = Parking(self.state, now=clock)
        self._process()

    def _process(self) -> None:
        limits = Limits(handler_timeout=30, batch_budget=60)
        settler = Settler(
            store=self.state,
            lanes=self.lanes,
            dead_letters=self.dead_letters,
            budget=lambda _: RetryBudget(share=1, reserve=1_000, trickle=0, clock=lambda: 0.0),
            spent_delay=300,
            now=self.clock,
        )
        self.ordered = OrderedKeys(self.parking, settler, now=self.clock)
        self.decoder = Decoder(
            self.registry,
            self.claims,
            buckets=BUCKETS,
            encryption=self.encryption,
            payload_hashes=self.fields.payload_hashes,
        )
        self.processor = BatchProcessor(
            decoder=self.decoder,
            store=self.state,
            runner=Runner(
                registry=self.registry,
                load=self.state.find,
                buckets=BUCKETS,
                gate=WeightedBulkhead(8, dict.fromkeys(Lane, 1.0)),
                plan=RetryPlan(max_attempts=5, base=2, cap=60),
                limits=limits,
                source=SOURCE,
                values=self.values,
                fields=self.fields,
                now=self.clock,
                random=lambda: 0.5,
            ),
            outbox=self.outbox,
            settler=settler,
            limits=limits,
            ordered=self.ordered,
            turns=LaneTurns({lane: Share(weight=1, slice=64) for lane in Lane}),
            recent=Recent(),
        )
        self.projector = Projector(self.registry, self.views, self.dead_letters, now=self.clock, fields=self.fields)

    def _table(self, name: str) -> AzureTable:
        self.tables.append(AzureTable.from_connection_string(self.stores.storage, self.stores.table(name)))
        return self.tables[-1]

    def _container(self, name: str) -> ContainerClient:
        return ContainerClient.from_connection_string(self.stores.storage, self.stores.container(name))

    async def send(self, delivery: dict[str, Any]) -> None:
        await self.lanes.send(Headers.from_properties(delivery["properties"]), delivery["body"])

    async def process(self, lane: str, deliveries: Sequence[dict[str, Any]]) -> None:
        await self.processor.process(Lane(lane), [Delivery(**one) for one in deliveries])
        await self.outbox.close()

    async def drain_parking(self) -> None:
        await ParkingDrain(self.parking, self.ordered, self.processor.take_turn, now=self.clock).drain()
        await self.outbox.close()

    async def sweep_outbox(self) -> None:
        await self.outbox.sweep()

    async def drain_dead_letter_queue(self, lane: str, letters: Sequence[dict[str, Any]]) -> None:
        async def differs(*_: object) -> bool:
            return False

        async def complete(_: GivenUp) -> None:
            """The broker forgets it."""

        drain = QueueDrain(
            self.dead_letters,
            InboxRecords(self.state),
            self.lanes,
            self.parking,
            Suspects(self.state),
            has_payload_hash=differs,
            now=self.clock,
            random=lambda: 0.0,
        )
        given_up = [
            GivenUp(delivery=Delivery(**{**one, "properties": {**one["properties"], RETURNS: MAX_RETURNS}}))
            for one in letters
        ]
        assert await drain.drain(Lane(lane), given_up, complete) == []

    async def project(self, bodies: Sequence[bytes]) -> None:
        await self.projector.project(
            [
                StreamEvent(body=body, partition="0", offset=str(100 * number), sequence_number=number)
                for number, body in enumerate(bodies)
            ]
        )

    async def hold_lease(self, name: str) -> None:
        lease = Lease(self.state, name, seconds=420, now=self.clock)
        lease._holder = "0" * 32
        if not await lease.acquire():
            raise AssertionError("nobody else has it")

    async def try_lease(self, name: str) -> bool:
        lease = Lease(self.state, name, seconds=60, now=self.clock)
        lease._holder = "1" * 32
        return await lease.acquire()

    async def put_claim(self, message_id: UUID, payload: bytes) -> None:
        await self.claims.put(message_id, payload)

    async def get_claim(self, message_id: UUID, payload: bytes) -> bytes:
        import hashlib

        digest = hashlib.sha256(payload).hexdigest()
        async with self._container("claims") as container:
            blob = await container.get_blob_client(f"{message_id}/{digest}").get_blob_properties()
        claim = Claim(blob.name, digest, len(payload), blob.metadata.get("encoding"))
        return await self.claims.get(message_id, claim)

    async def erase(self, customer: str, *, by: str, reason: str) -> None:
        token = (await self.token_keys.tokens()).token("customer", customer)
        await self.subject_keys.key_for(token)
        await self.subject_keys.erase(token, by=by, reason=reason)

    async def has_key(self, customer: str) -> bool:
        return await self.subject_keys.find((await self.token_keys.tokens()).token("customer", customer)) is not None

    async def letters(self) -> list[dict[str, Any]]:
        from shared.dead_letters import Filters

        found, newer = [], ("etag", "body_kind", "edit", "archived_until")
        async for letter in self.dead_letters.select(Filters()):
            columns = {name: value for name, value in asdict(letter).items() if name not in newer}
            found.append({**columns, "body": await self.dead_letters.body(letter)})
        return found

    async def replay(self, identity: str, *, by: str, reason: str) -> str:
        async def forward(lane: Lane, message: Any) -> None:
            await self.lanes.forward(lane, message)

        async def project(letter: Any, body: bytes) -> None:
            await self.project([body])

        async def payload_hashes(digest: str) -> Sequence[str]:
            return await self.fields.payload_hashes(digest)

        redrive = Redrive(
            self.dead_letters,
            InboxRecords(self.state),
            send=forward,
            events={"events": project},
            renew=self.claims.renew,
            now=self.clock,
            payload_hashes=payload_hashes,
        )
        letter = await self.dead_letters.get(identity)
        if letter is None:
            raise LookupError(identity)
        return str((await redrive.replay(letter, Decision(by=by, reason=reason))).action)

    async def view(self, view: str, key: str) -> str | None:
        kept = await self.views.get(view, key)
        return None if kept is None else await self._clear(view, key, kept)

    async def _clear(self, view: str, key: str, kept: str) -> str:
        model = next(one.model for one in self.registry.projections("parcel.packed") if one.view == view)
        return await self.fields.decrypt(kept, model, ("view", view, key))

    async def find(self, view: str, name: str, value: str) -> list[str]:
        token = (await self.token_keys.tokens()).token("customer", value)
        page = await self.views.find(view, name, [token], top=10)
        return [await self._clear(view, key, kept) for key, kept in page.rows]

    async def write_audit(self, secret: str, version: str, facts: dict[str, Any]) -> None:
        await self.audit.write(secret, version, facts)

    async def close(self) -> None:
        await self.outbox.close()
        for one in (self.lanes, self.state, self.views, self.dead_letters, self.claims, self.values, self.audit):
            await one.close()
        for rows in self.key_rows:
            await rows.close()
