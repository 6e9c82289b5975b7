"""The short way to read the frames of every message gives what the long way gives, errors included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.broker.amqp import DecodeError, performatives
from local_azure.broker.amqp.outcomes import ACCEPTED, rejected
from local_azure.broker.amqp.performatives import Disposition, Transfer, decode_performative
from local_azure.broker.amqp.types import Raw

_UINT = st.integers(0, 2**32 - 1) | st.integers(0, 300)
_FLAG = st.none() | st.booleans()
_STATE = st.sampled_from([None, Raw(ACCEPTED), Raw(rejected(None)), Raw(b"\x00\x53\x24\xc0\x01\x00")])
_TRANSFERS = st.builds(
    Transfer,
    handle=_UINT,
    delivery_id=st.none() | _UINT,
    delivery_tag=st.none() | st.binary(max_size=300),
    message_format=st.none() | _UINT,
    settled=_FLAG,
    more=_FLAG,
    rcv_settle_mode=st.none() | st.integers(0, 255),
    state=_STATE,
    resume=_FLAG,
    aborted=_FLAG,
    batchable=_FLAG,
)
_DISPOSITIONS = st.builds(
    Disposition, role=st.booleans(), first=_UINT, last=st.none() | _UINT, settled=_FLAG, state=_STATE, batchable=_FLAG
)


def _both_ways(data: bytes) -> tuple[Any, Any]:
    def read() -> Any:
        try:
            return decode_performative(data, 0, len(data))
        except DecodeError as error:
            return str(error)

    short = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performatives, "_SHORT_WAYS", {})
        return short, read()


@given(_TRANSFERS | _DISPOSITIONS, st.binary(max_size=20))
def test_what_is_well_formed_is_read_alike(performative: Any, payload: bytes) -> None:
    """Every field, in every size, and where the payload begins."""
    short, long = _both_ways(performative.encode() + payload)
    assert short == long
    assert short[1] == len(performative.encode())


@given(_TRANSFERS | _DISPOSITIONS, st.data())
def test_what_is_damaged_is_read_alike(performative: Any, data: st.DataObject) -> None:
    """Cut short, with bytes changed, with a short list instead of a long one."""
    raw = bytearray(performative.encode())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(3, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(4, len(raw)))
    short, long = _both_ways(bytes(raw[:cut]))
    assert short == long


@given(st.lists(st.sampled_from([b"\x40", b"\x41", b"\x42", b"\x43", b"\x52\x07", b"\x70\0\0\1\0", b"\xa0\x02ab"])))
def test_short_lists_of_any_fields_are_read_alike(items: list[bytes]) -> None:
    """As clients send them that leave trailing nulls out."""
    body = b"".join(items)
    for code in (Transfer.CODE, Disposition.CODE):
        short, long = _both_ways(bytes((0, 0x53, code, 0xC0, len(body) + 1, len(items))) + body + b"payload")
        assert short == long
