"""`dev.py partners contract`: what was agreed with partners, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ops.contracts import CHANGED, OK, WRONG, contracts, main
from shared.messages import Integration, Registry
from shared.partners import ApiKey, Partner, PartnerModel, Timeouts
from shared.partners.contract import changes
from shared.resilience import Limit


class Label(PartnerModel):
    """Of the module that declares the partner."""

    id: str
    pages: Sequence[int] = ()


carrier = Partner(
    "carrier",
    timeouts=Timeouts(total=20),
    limit=Limit(calls=50),
    auth=ApiKey(secret="carrier-key"),
    base_url="https://a.example",
)


def written(partner: Partner = carrier) -> dict[str, Any]:
    """Its contract, from a module that holds it and a model, and one that only imports them."""
    module, other = ModuleType(Label.__module__), ModuleType("another")
    module.__dict__.update(carrier=partner, Label=Label, PartnerModel=PartnerModel)
    other.__dict__.update(carrier=partner, Label=Label)
    registry = Registry([Integration("orders")], beside=[partner])
    found: dict[str, Any] = json.loads(json.dumps(contracts(registry, [module, other])["carrier"]))
    return found


def test_a_contract_holds_what_was_agreed() -> None:
    """Times, limit, errors and models; nothing of a stage, and no secret's name."""
    found = written()
    assert (found["contract"], found["timeouts"]["total"], found["limit"]["calls"]) == (1, 20, 50)
    assert found["auth"] == ["ApiKey"]
    assert list(found["models"]) == ["Label"]
    assert found["models"]["Label"]["required"] == ["id"]
    assert found["errors"]["300-407"] == "PartnerRefused"
    assert found["errors"]["429"] == found["errors"]["503"] == "PartnerThrottled"
    assert found["errors"]["500-502"] == found["errors"]["504-599"] == found["errors"]["408-409"] == "PartnerFailed"
    assert "carrier-key" not in json.dumps(found)
    assert "a.example" not in json.dumps(found)


def test_what_has_changed_has_its_place() -> None:
    """And nothing else is named."""
    before, after = written(), written(Partner("carrier", timeouts=Timeouts(total=25), limit=Limit(calls=50)))
    del after["models"]["Label"]["properties"]["pages"]
    assert list(changes(before, after)) == [
        "auth was ['ApiKey'], is []",
        "models.Label.properties.pages is gone",
        "timeouts.total was 20, is 25",
    ]
    assert list(changes(before, before)) == []


def test_the_command_prints_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the app's own integrations."""
    file = tmp_path / "contracts.json"
    assert main([]) == OK
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["--check", str(file)]) == OK
    assert capsys.readouterr().out == "nothing has changed\n"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["partners"]["former"] = {}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert main(["--check", str(file)]) == CHANGED
    assert capsys.readouterr().out == "former is gone\n"
    for wrong in ("[]", "{}", '{"contracts": 2, "partners": {}}', "no JSON"):
        file.write_text(wrong, encoding="utf-8")
        assert main(["--check", str(file)]) == WRONG
    assert main(["nobody"]) == WRONG
    assert "there is no partner nobody" in capsys.readouterr().err
