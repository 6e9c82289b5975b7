"""A clean stop, on the wire: connections are cut, nothing is said, and what was acknowledged is there afterwards."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from integration.broker.configuration import SERVICE_BUS
from integration.broker.process import EmulatorProcess
from local_azure.broker.amqp.frames import AMQP_HEADER, FrameReader, frame
from local_azure.broker.amqp.performatives import Attach, Disposition, Flow, Performative, Transfer, decode_performative
from unit.broker.peer import Peer, source, target
from unit.broker.world import body


class _Wire:
    """A socket that tells every frame that came, up to the end of the connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(Peer.opening())
        self._reader = FrameReader(1 << 20)
        self._head = b""

    def send(self, performative: Performative, payload: bytes = b"") -> None:
        self._socket.sendall(frame(0, performative.encode() + payload))

    def read_until(self, kind: type[Performative] | None) -> list[Performative]:
        """Frames up to one of a kind, or to the end."""
        found: list[Performative] = []
        while kind is None or not any(isinstance(each, kind) for each in found):
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                assert kind is None, "the connection ended too soon"
                break
            if AMQP_HEADER not in self._head:
                self._head += data
                data = self._head.partition(AMQP_HEADER)[2]
            self._reader.feed(data)
            while (each := self._reader.next_frame()) is not None:
                if each.start != each.end:
                    found.append(decode_performative(each.data, each.start, each.end)[0])
        return found

    def attach(self, address: str, handle: int, *, receives: bool, **fields: Any) -> None:
        self.send(
            Attach(
                name=f"l{handle}",
                handle=handle,
                role=receives,
                source=source(address if receives else "me"),
                target=target("me" if receives else address),
                initial_delivery_count=None if receives else 0,
                **fields,
            )
        )

    def grant(self, handle: int, credit: int) -> None:
        self.send(
            Flow(
                next_incoming_id=0,
                incoming_window=5000,
                next_outgoing_id=0,
                outgoing_window=5000,
                handle=handle,
                delivery_count=0,
                link_credit=credit,
            )
        )


@pytest.mark.parametrize("volatile", [False, True], ids=["durable", "volatile"])
def test_no_close_and_no_detach_before_the_cut(tmp_path: Path, volatile: bool) -> None:
    """Receivers, senders and their sessions hear the end of the connection and nothing else."""
    with EmulatorProcess(tmp_path, SERVICE_BUS, *(["--volatile"] if volatile else [])) as emulator:
        wire = _Wire(emulator.port)
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
    sender, receiver = _Wire(emulator.port), _Wire(emulator.port)
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
