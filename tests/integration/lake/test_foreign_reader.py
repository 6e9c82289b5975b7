"""A reader of Avro that nobody here wrote, avsc of npm, reads what we write: field for field, as documented."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.lake.bronze.encoding import encode
from shared.lake.bronze.records import SCHEMA
from shared.streams import Annotations, StreamEvent
from tests.npm import installed

PROJECT = Path(__file__).parents[3]
READERS = Path(__file__).parent / "avro"


async def read(file: Path) -> tuple[int, Any]:
    """Its exit code, and what it finds."""
    node, folder = installed(PROJECT, READERS, "avro-readers")
    process = await asyncio.create_subprocess_exec(
        node, str(READERS / "read.cjs"), str(folder), str(file), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None


def event(number: int) -> StreamEvent:
    """One that has a value of every kind beside it."""
    return StreamEvent(
        body=bytes([number]) * 300,
        partition="0",
        offset=str(number),
        sequence_number=number,
        properties={
            "text": "\u00e9",
            "number": -5,
            "ratio": 0.5,
            "raw": b"\xff",
            "none": None,
            "flag": True,
            "list": [1],
        },
        annotations=Annotations(enqueued=datetime(2026, 11, 30, 0, 5, 9, tzinfo=UTC), system={"content-type": "a/b"}),
    )


async def test_it_reads_every_record(tmp_path: Path) -> None:
    """What the schema can't hold is text to it."""
    file = tmp_path / "59.avro"
    file.write_bytes(encode([event(number) for number in range(200)]))
    code, found = await read(file)
    fields = [[one["name"], one["type"]] for one in SCHEMA["fields"]]
    assert (code, found["codec"], found["fields"]) == (0, "deflate", fields)
    assert found["name"] == f"{SCHEMA['namespace']}.{SCHEMA['name']}"
    assert [one["SequenceNumber"] for one in found["records"]] == list(range(200))
    assert found["records"][7] == {
        "SequenceNumber": 7,
        "Offset": "7",
        "EnqueuedTimeUtc": "11/30/2026 12:05:09 AM",
        "SystemProperties": {
            "content-type": "a/b",
            "x-sluice-json": '{"properties": ["flag", "list"], "system": []}',
            "x-opt-enqueued-time": 1_795_997_109_000,
        },
        "Properties": {
            "text": "\u00e9",
            "number": -5,
            "ratio": 0.5,
            "raw": {"base64": "/w=="},
            "none": None,
            "flag": "true",
            "list": "[1]",
        },
        "Body": {"base64": base64.b64encode(b"\x07" * 300).decode()},
    }


async def test_it_refuses_a_file_that_was_cut(tmp_path: Path) -> None:
    """As ours does: nobody takes half of one for a whole."""
    file = tmp_path / "cut.avro"
    whole = encode([event(number) for number in range(200)])
    file.write_bytes(whole[: len(whole) // 2])
    code, found = await read(file)
    assert code != 0 or len(found["records"]) < 200
