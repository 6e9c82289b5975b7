"""A clean stop, on the wire: connections are cut, nothing is said, and what was acknowledged is there afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from integration.broker.configuration import SERVICE_BUS
from integration.broker.process import EmulatorProcess
from integration.broker.wire import Wire
from local_azure.broker.amqp.performatives import Disposition, Flow, Transfer
from unit.broker.world import body


@pytest.mark.parametrize("volatile", [False, True], ids=["durable", "volatile"])
def test_no_close_and_no_detach_before_the_cut(tmp_path: Path, volatile: bool) -> None:
    """Receivers, senders and their sessions hear the end of the connection and nothing else."""
    with EmulatorProcess(tmp_path, SERVICE_BUS, *(["--volatile"] if volatile else [])) as emulator:
        wire = Wire(emulator.port)
        wire.attach("plain", 0, receives=False)
        wire.read_until(Flow)
        wire.attach("plain", 1, receives=True)
        wire.grant(1, 10)
        wire.send(Transfer(handle=0, delivery_id=0, delivery_tag=b"t", settled=False), body(b"kept"))
        seen = wire.read_until(Transfer)
        if not any(isinstance(each, Disposition) for each in seen):
            wire.read_until(Disposition)
        emulator.terminate()
        assert [type(each).__name__ for each in wire.read_until(None)] == []
        assert emulator.wait() == 0


def test_what_was_acknowledged_or_taken_for_good_is_told_apart_by_the_journal(tmp_path: Path) -> None:
    """A stop in the midst of traffic: sent = received + left, with receive-and-delete on the other side."""
    emulator = EmulatorProcess(tmp_path, SERVICE_BUS).start()
    sender, receiver = Wire(emulator.port), Wire(emulator.port)
    sender.attach("plain", 0, receives=False)
    sender.read_until(Flow)
    receiver.attach("plain", 0, receives=True, snd_settle_mode=1)
    receiver.grant(0, 4000)
    for number in range(400):
        sender.send(Transfer(handle=0, delivery_id=number, delivery_tag=b"t%d" % number), body(b"%d" % number))
    time.sleep(0.05)
    emulator.terminate()
    settled = [each for each in sender.read_until(None) if isinstance(each, Disposition)]
    acknowledged = sum((each.last or each.first) - each.first + 1 for each in settled)
    received = sum(isinstance(each, Transfer) for each in receiver.read_until(None))
    assert emulator.wait() == 0
    emulator.start()
    left = emulator.status()["queues"]["plain"]["active"]
    emulator.stop()
    assert received + left >= acknowledged
    assert received + left <= 400


def test_the_sdk_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A cut connection is opened again; nothing is lost."""
    emulator = EmulatorProcess(tmp_path, SERVICE_BUS).start()
    with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("plain") as sender,
        client.get_queue_receiver("plain") as receiver,
    ):
        sender.send_messages(ServiceBusMessage("before"))
        assert emulator.stop() == 0
        emulator.start()
        sender.send_messages(ServiceBusMessage("after"))
        found: list[str] = []
        while len(found) < 2:
            batch = receiver.receive_messages(2, max_wait_time=10)
            assert batch
            found += [str(message) for message in batch]
            for message in batch:
                receiver.complete_message(message)
        assert found == ["before", "after"]
    emulator.stop()
