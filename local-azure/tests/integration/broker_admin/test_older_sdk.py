"""The administration client of an older SDK that is still in use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from integration.broker.test_sync_and_older_sdks import older_python  # noqa: F401 (a fixture)
from integration.broker_admin.certificate import Certificate

_SCENARIO = Path(__file__).with_name("older_scenario.py")


def test_the_older_sdk_administers_the_emulator(
    older_python: Path,  # noqa: F811
    admin_connection_string: str,
    certificate: Certificate,
) -> None:
    finished = subprocess.run(
        [str(older_python), str(_SCENARIO), admin_connection_string.replace("UseDevelopmentEmulator=true;", "")],
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(certificate.certificate)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["queues", "topics", "refusals"]
