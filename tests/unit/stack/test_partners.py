"""Partners that an app declares are simulated, each by its script, and the app is given what it needs to call them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import aiohttp
import pytest

from local.stack.partners import PartnerScripts, running_partners

EXPRESS = {
    "settings": {"ORDERS_CARRIER": "express"},
    "secrets": {"express-key": "k"},
    "rules": [{"path": "/labels", "unless": {"X-API-Key": "k"}, "status": 401}],
}


def project(folder: Path, *partners: dict[str, object]) -> PartnerScripts:
    """A project that declares partners, one of them with a script."""
    (folder / "infra").mkdir()
    (folder / "infra" / "declarations.json").write_text(json.dumps({"partners": partners}))
    (folder / "local" / "partners").mkdir(parents=True)
    (folder / "local" / "partners" / "express.json").write_text(json.dumps(EXPRESS))
    return PartnerScripts.of(folder)


async def test_each_partner_that_is_declared_runs_by_its_script(tmp_path: Path) -> None:
    """Also one of several targets, and one that has no script; what they made is there again."""
    scripts = project(tmp_path, {"name": "express"}, {"name": "bank", "targets": ["eu", "us"]})
    assert scripts.secrets == {"express-key": "k"}
    for made in (1, 2):
        async with running_partners(scripts, tmp_path / "kept", ["http://127.0.0.1:9"], first=0) as running:
            express, bank = running["express"].url, running["bank"].url
            assert scripts.settings(running) == {"ORDERS_CARRIER": "express", "SLUICE_PARTNER_URLS": ""}
            every = f"bank={bank},bank.eu={bank},bank.us={bank},express={express}"
            assert scripts.urls("", running) == every
            given = "express=https://sandbox.example"
            assert scripts.urls(given, running) == f"{given},bank={bank},bank.eu={bank},bank.us={bank}"
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{express}/labels", json={}) as answer:
                    assert answer.status == 401
                async with session.post(f"{bank}/payments", json={"amount": made}) as answer:
                    assert (await answer.json())["id"] == str(made)


async def test_a_project_without_partners_runs_none(tmp_path: Path) -> None:
    scripts = PartnerScripts.of(tmp_path)
    async with running_partners(scripts, tmp_path, [], first=None) as running:
        assert (running, scripts.secrets, scripts.settings(running)) == ({}, {}, {})


async def test_a_default_port_that_is_taken_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was asked for is refused, and so is a script that can't be followed."""
    scripts = project(tmp_path, {"name": "bank"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("local.stack.partners._FIRST_PORT", port)
        monkeypatch.setattr(
            "local.stack.partners.settle", lambda wanted, default: default
        )  # free, and a moment later not
        async with running_partners(scripts, tmp_path, [], first=None) as running:
            assert not running["bank"].url.endswith(f":{port}")
        with pytest.raises(OSError, match=str(port)):
            async with running_partners(scripts, tmp_path, [], first=port):
                pass
    wrong = PartnerScripts({"bank": '{"rules": [{"stauts": 1}]}'}, {"bank": ["bank"]})
    with pytest.raises(ValueError, match="stauts"):
        async with running_partners(wrong, tmp_path, [], first=0):
            pass
