"""Wrong options are refused before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from local.stack.__main__ import _options, _parser
from local.stack.ports import settle
from local.stack.stack import StackOptions
from local.stack.supervisor import restart_delay


def options(**changes: object) -> StackOptions:
    return StackOptions(**{"project": Path("p"), "data_directory": Path("d"), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instances": 0}, "--instances must be from 1 to 64, not 0"),
        ({"instances": 65}, "--instances must be from 1 to 64, not 65"),
        ({"port": 0}, "--port must be from 1 to 65535, not 0"),
        ({"port": 65_535, "instances": 2}, "--port must be from 1 to 65534, not 65535"),
        ({"host": "docker"}, "--host must be embedded or func, not docker"),
    ],
)
def test_a_wrong_option_is_named_with_its_bounds(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options(**changes)


def test_starts_again_are_ever_slower_up_to_a_bound() -> None:
    delays = [restart_delay(failures) for failures in range(10)]
    assert delays == sorted(delays)
    assert delays[0] < 1
    assert delays[-1] == 5.0


def test_any_free_port_is_asked_for_as_zero() -> None:
    assert settle(0, 5672) == 0


def test_one_base_moves_every_port() -> None:
    stack = _options(_parser().parse_args(["--ports", "20000", "--vault-port", "9000"])).stack
    inner = asdict(stack.ports)
    assert stack.port == 20_000
    assert inner.pop("vault") == 9000
    assert sorted(inner.values()) == [20_064, 20_065, 20_066, 20_067, 20_068, 20_069, 20_071, 20_072]


def test_a_base_without_room_above_it_is_refused() -> None:
    with pytest.raises(ValueError, match="--ports must be from 1 to 65462, not 65500"):
        _options(_parser().parse_args(["--ports", "65500"]))
