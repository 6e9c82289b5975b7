"""Which partition a key belongs to: the same one that the service and its clients in three languages choose."""

from __future__ import annotations

import pytest

from local_azure.broker.eventhubs.partition_key import lookup3, partition_of


@pytest.mark.parametrize(
    ("key", "count", "partition"),
    [("alphabet", 3, 0), ("alphabet", 11, 4), ("TheBestParitionEver", 4, 2), ("TheWorstParitionEver", 15, 1)],
)
def test_keys_go_where_the_service_sends_them(key: str, count: int, partition: int) -> None:
    """Figures that JavaScript's client is tested with; its authors had them from the service's own code."""
    assert partition_of(key, count) == partition


def test_the_remainder_goes_toward_zero() -> None:
    """For a hash below zero the floored remainder would name another partition, unless it is a half or none."""
    negative = 0
    for number in range(200):
        key = f"order-{number}"
        first, second = lookup3(key.encode())
        code = (first ^ second) & 0xFFFF
        signed = code - 0x10000 if code & 0x8000 else code
        negative += signed < 0
        expected = abs(signed - 4 * int(signed / 4))
        assert partition_of(key, 4) == expected
    assert negative > 50
