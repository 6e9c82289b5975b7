"""Poisoned messages on every lane: a small run of what `dev.py fuzz messages` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.azurite import AzuriteEndpoints
from local.fuzz.messages import Parts, fuzz_lanes, host_process
from local.fuzz.report import Options, Report
from local_azure.testing.processes import BrokerProcess
from tests.scale import SCALE

COUNT = int(24 * SCALE)


@pytest.mark.timeout(600)
async def test_a_bad_message_never_hurts_its_batch(
    azurite: AzuriteEndpoints, emulator: BrokerProcess, project: Path, tmp_path: Path
) -> None:
    """One dead letter for each; the first 24 cases of this seed have every kind of AMQP body. Nothing spins."""
    with host_process(project, tmp_path, emulator.connection_string, azurite.connection_string) as (log, pid):
        parts = Parts(
            broker=emulator.connection_string,
            storage=azurite.connection_string,
            status_url=f"http://127.0.0.1:{emulator.admin_port}",
            host_log=log,
            host_pid=pid,
        )
        report = await fuzz_lanes(parts, Options(project=project, seed=22, count=COUNT), Report())
    assert (report.failed, report.complaints) == ([], [])
    assert ("good messages done", f"{COUNT:,}") in report.rows
    assert ("dead letters", f"{COUNT:,}") in report.rows
