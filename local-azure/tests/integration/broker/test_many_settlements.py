"""Settling by the ten thousand on the wire: each is answered once and well, and a repeated one as the service does."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import pytest

from integration.broker.configuration import SERVICE_BUS
from integration.broker.process import EmulatorProcess
from integration.broker.wire import Wire
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import frame
from local_azure.broker.amqp.message import BATCH_FORMAT, Properties, encode_message, scan
from local_azure.broker.amqp.outcomes import ACCEPTED, RELEASED
from local_azure.broker.amqp.performatives import Disposition, Flow, Transfer
from local_azure.broker.amqp.types import Array, Described, Raw, ULong
from unit.broker.world import body

_SCALE = float(os.environ.get("SLUICE_TEST_SCALE", "1"))
_MOST = round(100_000 * _SCALE)
_SECONDS = 6.0 if _SCALE <= 1 else 600.0
"""As many settlements as fit into this time, on a slow machine; a million in the nightly run."""

_BATCH = 500


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """A durable emulator."""
    with EmulatorProcess(tmp_path_factory.mktemp("settlements"), SERVICE_BUS) as running:
        yield running


def _settlements(first: int, *, settled: bool) -> bytes:
    """One frame for each message of a batch."""
    return b"".join(
        frame(0, Disposition(role=True, first=number, settled=settled, state=Raw(ACCEPTED)).encode())
        for number in range(first, first + _BATCH)
    )


@pytest.mark.timeout(60 + _SECONDS)
@pytest.mark.parametrize("settled", [False, True], ids=["answered", "fire and forget, as azure-servicebus 7.12"])
def test_every_single_settlement_counts(emulator: EmulatorProcess, settled: bool) -> None:
    """None is refused, none is answered twice, and no message comes a second time."""
    wire = Wire(emulator.port)
    wire.attach("plain", 0, receives=False)
    wire.read_until(Flow)
    wire.attach("plain", 1, receives=True)
    batch = b"".join(encode(Described(ULong(0x75), body(b"x"))) for _ in range(_BATCH))
    done = 0
    answered: set[int] = set()
    until = time.monotonic() + _SECONDS
    while done < _MOST and time.monotonic() < until:
        wire.send(
            Transfer(
                handle=0, delivery_id=done // _BATCH, delivery_tag=b"t", message_format=BATCH_FORMAT, settled=True
            ),
            batch,
        )
        wire.grant(1, _BATCH, delivery_count=done)
        got = 0
        while got < _BATCH:
            for each in wire.read_until(Transfer):
                if isinstance(each, Transfer):
                    assert each.delivery_id == done + got
                    got += 1
        wire.send_bytes(_settlements(done, settled=settled))
        done += _BATCH
        while not settled and len(answered) < done:
            for each in wire.read_until(Disposition):
                if isinstance(each, Disposition):
                    assert each.state.descriptor == 0x24
                    assert each.first not in answered
                    answered.add(each.first)
    assert done >= (2_000 if _SCALE <= 1 else _MOST)
    deadline = time.monotonic() + 10
    while emulator.status()["queues"]["plain"]["active"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert emulator.status()["queues"]["plain"]["active"] == 0


def test_a_repeated_settlement_on_its_link_is_no_delivery_any_more(emulator: EmulatorProcess) -> None:
    """What was settled is forgotten (AMQP 1.0, 2.6.12): no answer and no harm, whatever it asks for, settled or not."""
    wire = Wire(emulator.port)
    wire.attach("plain", 0, receives=False)
    wire.read_until(Flow)
    wire.attach("plain", 1, receives=True)
    for number in range(2):
        wire.send(Transfer(handle=0, delivery_id=number, delivery_tag=b"t", settled=True), body(b"%d" % number))
    wire.grant(1, 2)
    deliveries: list[int] = []
    while len(deliveries) < 2:
        deliveries += [each.delivery_id or 0 for each in wire.read_until(Transfer) if isinstance(each, Transfer)]
    first, second = deliveries

    def settle(delivery: int, state: bytes, *, settled: bool) -> None:
        wire.send(Disposition(role=True, first=delivery, settled=settled, state=Raw(state)))

    settle(first, ACCEPTED, settled=False)
    wire.read_until(Disposition)
    settle(first, ACCEPTED, settled=False)
    settle(first, RELEASED, settled=False)
    settle(first, ACCEPTED, settled=True)
    settle(second, ACCEPTED, settled=False)
    answers = wire.read_until(Disposition)
    assert [(type(each), each.first, each.state.descriptor) for each in answers if isinstance(each, Disposition)] == [
        (Disposition, second, 0x24)
    ]
    assert len(answers) == 1
    assert emulator.status()["queues"]["plain"]["active"] == 0


def test_a_repeated_settlement_is_told_that_the_lock_is_lost(emulator: EmulatorProcess) -> None:
    """Over management, where SDKs repeat one whose answer got lost: 410, however long the lock would have lasted."""
    wire = Wire(emulator.port)
    wire.attach("plain", 0, receives=False)
    wire.read_until(Flow)
    wire.attach("plain", 1, receives=True)
    wire.attach("plain/$management", 2, receives=False)
    wire.attach("plain/$management", 3, receives=True)
    wire.grant(3, 10)
    wire.send(Transfer(handle=0, delivery_id=0, delivery_tag=b"t", settled=True), body(b"x"))
    wire.grant(1, 1)
    transfer = next(each for each in wire.read_until(Transfer) if isinstance(each, Transfer))
    wire.send(Disposition(role=True, first=transfer.delivery_id or 0, settled=False, state=Raw(ACCEPTED)))
    wire.read_until(Disposition)
    token = uuid.UUID(bytes_le=transfer.delivery_tag or b"")
    request = encode_message(
        properties=Properties(message_id="r", reply_to="me"),
        application_properties={"operation": "com.microsoft:update-disposition"},
        body={"disposition-status": "completed", "lock-tokens": Array(0x98, (token,))},
    )
    wire.send(Transfer(handle=2, delivery_id=1, delivery_tag=b"r", settled=True), request)
    wire.read_until(Transfer)
    answer = scan(wire.payloads[-1]).application_properties
    assert (answer["statusCode"], answer["errorCondition"]) == (410, "com.microsoft:message-lock-lost")
