"""The contracts of messages, read by AsyncAPI's own parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from functions.contracts import contracts
from shared.messages import Registry
from tests.npm import installed
from tests.unit.shared.messages.test_versions import FirstPaid, payments


@pytest.fixture(scope="module")
def validate(project: Path) -> Any:
    """What the parser says of a document."""
    source = Path(__file__).parent / "parser"
    node, folder = installed(project, source, "asyncapi")
    program = folder / "validate.mjs"
    program.write_text((source / "validate.mjs").read_text(encoding="utf-8"), encoding="utf-8")

    def parsed(document: str) -> dict[str, Any]:
        done = subprocess.run(
            [node, str(program)], input=document, cwd=folder, capture_output=True, text=True, timeout=120, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return parsed


def test_the_exported_document_is_valid(project: Path, validate: Any) -> None:
    found = validate((project / "infra" / "asyncapi.json").read_text(encoding="utf-8"))
    assert found["errors"] == []
    assert ["order.placed-1.0", True] in found["messages"]
    assert ["publishEvents", "send"] in found["operations"]


def test_so_is_one_with_several_versions_and_a_broken_one_is_not(validate: Any) -> None:
    document = contracts(Registry([payments(FirstPaid)]), hub="events")
    found = validate(json.dumps(document))
    assert found["errors"] == []
    assert sorted(name for name, _ in found["messages"]) == ["payment.made-1.0", "payment.made-1.1", "payment.made-2.0"]
    document["channels"]["commands"]["messages"]["command-payment.made-1.0"] = {"$ref": "#/nowhere"}
    assert validate(json.dumps(document))["errors"] != []
