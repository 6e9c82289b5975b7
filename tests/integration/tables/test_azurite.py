"""What the local stack mends in Azurite."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient, generate_blob_sas

from local.azurite import AzuriteEndpoints


def _process_at(port: int) -> int:
    """The process that listens on a port of the loopback."""
    listening = re.compile(rf" 0100007F:{port:04X} 00000000:0000 0A .*? \d+ +\d+ (?P<inode>\d+) ")
    found = listening.search(Path("/proc/net/tcp").read_text(encoding="ascii"))
    assert found is not None
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(entry) == f"socket:[{found['inode']}]":
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError("nobody listens there")


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_downloads_that_are_broken_off_leave_no_file_open(azurite: AzuriteEndpoints) -> None:
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.create_container(f"broken{uuid4().hex}")
        container.upload_blob("large", b"x" * 2_000_000)
        token = generate_blob_sas(
            str(service.account_name), container.container_name, "large", permission="r",
            account_key=service.credential.account_key, expiry=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        url = urlsplit(f"{container.url}/large?{token}")
        files = Path(f"/proc/{_process_at(url.port or 0)}/fd")
        before = len(list(files.iterdir()))
        for number in range(60):
            with socket.create_connection((str(url.hostname), url.port)) as connection:
                connection.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
                time.sleep(0.01 * (number % 3))
        until = time.monotonic() + 20
        while len(list(files.iterdir())) > before + 20 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(list(files.iterdir())) <= before + 20
        assert container.download_blob("large").readall() == b"x" * 2_000_000
