"""Exchanges with a partner: recorded without what is secret, replayed, and compared with today."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from local.partners.__main__ import _compare, main
from local.partners.drift import drift
from local.partners.exchanging import recorder, replayer
from shared.partners import ApiKey, PartnerRefused, PartnerThrottled
from shared.resilience import RetryPlan
from shared.testing import AnsweringPartner
from shared.testing.partners import partners_of
from shared.testing.recordings import Exchange, Redaction, WrongRecording, read_recording, write_recording
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.test_auth import Vault
from tests.unit.shared.partners.world import NOW, Label, Parcel, World, world

ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
KEPT = [
    "L-1",
    "no such country",
    "2026-11-30T12:00:00Z",
    "536365",
    "6f1c2a54-0a39-4b0e-9a39-2f1d6a9f6f10",
    17.5,
    True,
    None,
]


@pytest.mark.parametrize("value", KEPT, ids=str)
def test_what_a_bug_is_told_by_stays(value: Any) -> None:
    """Codes, numbers of orders, moments and ids."""
    kept = Redaction()(Exchange(method="GET", path="/orders/536365", answer={"what": value, "list": [value]}))
    assert kept.answer == {"what": value, "list": [value]}
    assert kept.path == "/orders/536365"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accessToken", "abc"),
        ("api_key", "abc"),
        ("Authorization", "abc"),
        ("lastName", "Smith"),
        ("street", "Main Street 1"),
        ("birthDate", "1970-05-05"),
        ("note", "call +44 20 7946 0000"),
        ("note", "mail smith@shop.example"),
        ("note", f"Bearer {JWT}"),
        ("note", "DE89370400440532013000"),
        ("note", "sk_live_51H8xYzAbCdEfGhIjKlMnOpQrStUv"),
        ("note", "card 4111 1111 1111 1111"),
        ("customer", {"any": ["Smith", {"deep": "Smith"}], "age": 55}),
    ],
)
def test_what_is_secret_or_somebodys_is_taken_out(name: str, value: Any) -> None:
    """By the names of fields, and by what it looks like; wherever it stands."""
    exchange = Exchange(
        method="POST",
        path="/labels",
        query={name: value} if isinstance(value, str) else {},
        request={name: value},
        headers={
            "Link": "<https://a.example/x?page=2&access_token=s3cret>; rel=next",
            "X-Secret": "s3cret",
            "Set-Cookie": "s3cret",
            "Content-Type": "application/json",
        },
        answer=[{name: value}],
    )
    text = write_recording("carrier", [Redaction()(exchange)])
    assert "page=2" in text
    parts = [value] if isinstance(value, str) else ["Smith", "55"]
    for one in parts:
        telling = one.removeprefix("call ").removeprefix("mail ").removeprefix("Bearer ").removeprefix("card ")
        assert telling not in text
    assert "s3cret" not in text
    assert "application/json" in text


@pytest.mark.parametrize("name", ["pwd", "auth", "sig", "requestSig", "hmac", "dob", "pass_hash"])
def test_short_names_tell_too(name: str) -> None:
    """In JSON, in forms, and in lines; not where they are a part of another word."""
    kept = Redaction()(Exchange(method="POST", path="/x", request={name: "hunter2"}, answer={"design": "blue"}))
    assert kept.request == {name: "redacted-1"}
    assert kept.answer == {"design": "blue"}


def test_forms_and_lines_are_read_by_their_names() -> None:
    """Escaped or not; what isn't hidden stays as it is."""
    form = "password=hunter2&name=Jane+Doe&street=High+Street+1&dob=1980-02-03&items%5B0%5D=L-1&empty="
    lines = '{"lastName": "Doe", "n": 1}\n\n{"id": "L-1", "password": "hunter2"}'
    kept = Redaction()(Exchange(method="POST", path="/x", request=form, answer=lines))
    fields = dict(parse_qsl(kept.request, keep_blank_values=True))
    assert fields.keys() == {"password", "name", "street", "dob", "items[0]", "empty"}
    assert (fields["items[0]"], fields["empty"], fields["dob"]) == ("L-1", "", "2000-01-01")
    first, second = map(json.loads, kept.answer.splitlines())
    assert (first["n"], second["id"], second["password"]) == (1, "L-1", fields["password"])
    assert not {"hunter2", "Jane", "Doe", "High", "1980"} & set(re.findall(r"\w+", f"{kept.request} {kept.answer}"))


@pytest.mark.parametrize(
    "text", ["<order><name>Jane Doe</name></order>", "--b\r\nJane Doe\r\n--b--", "data: Jane Doe\n\n", "Jane Doe="]
)
def test_other_texts_are_kept_where_that_is_asked_for(text: str) -> None:
    """No name says what they hold."""
    exchange = Exchange(method="POST", path="/x", request=text, answer=text)
    assert "Jane" not in write_recording("carrier", [Redaction()(exchange)])
    assert Redaction(texts=True)(exchange).answer == text


def test_a_value_has_one_placeholder() -> None:
    """In paths and bodies alike, and in its own shape: what belongs together still does."""
    redaction = Redaction(also=["ref"])
    first = redaction(Exchange(method="POST", path="/x", request={"ref": "R-17", "email": "a@b.example"}))
    second = redaction(
        Exchange(method="GET", path="/x/R-17", answer={"ref": "R-17", "born": "x", "birth": "1970-05-05"})
    )
    assert second.path == f"/x/{first.request['ref']}"
    assert second.answer["ref"] == first.request["ref"]
    assert first.request["email"].endswith("@example.com")
    assert second.answer["birth"] == "2000-01-01"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"recording": 2, "partner": "a", "exchanges": []}', '{"recording": 1, "partner": "a"}']
    + [f'{{"recording": 1, "partner": "a", "exchanges": [{one}]}}' for one in ("1", "{}", '{"method": 1, "other": 2}')]
    + ['{"recording": 1, "partner": "a", "exchanges": [{"method": "GET", "path": "/", "status": 7}]}'],
)
def test_what_is_no_recording_is_refused(text: str) -> None:
    """With a reason, before anything is replayed."""
    with pytest.raises(WrongRecording, match="recording"):
        read_recording(text)


async def exchanged(carrier: World) -> list[Any]:
    """What a handler gets of some calls, one after the other."""
    calls = carrier.calls()
    found: list[Any] = [await calls.post("/labels", Label, Parcel(reference="536365"))]
    for path in ("/labels/none", "/labels/busy"):
        with pytest.raises((PartnerRefused, PartnerThrottled)) as raised:
            await calls.get(path, Label)
        found.append((type(raised.value), raised.value.status, raised.value.after))
    found.append(await calls.get("/labels", list[Label]))
    return found


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    """The app sees through the recorder what the partner answers, and the same of the replayer and in a test."""
    kept: list[Exchange] = []
    options: dict[str, Any] = {"retry": ALONE, "auth": ApiKey(secret="key"), "given": {"secrets": Vault(key="s3cret")}}
    async with world() as real:
        real.says("GET", "/labels/none", status=404, json={"code": "NO_LABEL"})
        real.says("GET", "/labels/busy", status=429, headers={"Retry-After": "7"})
        async with recorder(real.carrier.url, kept.append) as url, world(urls={"carrier": url}, **options) as carrier:
            found = await exchanged(carrier)
        assert real.asked[0].headers["x-api-key"] == "s3cret"
    text = write_recording("carrier", map(Redaction(), kept))
    assert "s3cret" not in text
    name, exchanges = read_recording(text)
    assert name == "carrier"
    async with replayer(exchanges) as url, world(urls={"carrier": url}, **options) as carrier:
        assert await exchanged(carrier) == found
    (tmp_path / "carrier.json").write_text(text, encoding="utf-8")
    async with world(retry=ALONE) as carrier:
        api = AnsweringPartner(carrier.partner)
        api.replays(tmp_path / "carrier.json")
        carrier.partners = partners_of([api], MemoryState(), lambda: NOW)
        assert await exchanged(carrier) == found
        with pytest.raises(LookupError, match="no answer of carrier to GET /other"):
            await carrier.partners.calls(carrier.partner, carrier.caller, Counter()).get("/other", Label)


async def test_answers_come_in_their_order() -> None:
    """Those of a query of its own first; the last one again."""
    exchanges = [
        Exchange(method="GET", path="/a", answer={"n": 1}),
        Exchange(method="GET", path="/a", answer={"n": 2}),
        Exchange(method="GET", path="/a", query={"page": "2"}, answer={"n": 3}),
    ]
    async with replayer(exchanges) as url, aiohttp.ClientSession() as session:

        async def ask(path: str) -> Any:
            async with session.get(url + path) as answer:
                return json.loads(await answer.read()).get("n", answer.status)

        assert [await ask(one) for one in ("/a", "/a?page=2", "/a", "/a", "/a?page=2", "/b")] == [1, 3, 2, 2, 3, 404]


@pytest.mark.parametrize(
    ("recorded", "today", "differs"),
    [
        ({"id": "a", "n": 1}, {"id": "b", "n": 2.5}, []),
        ({"id": "a"}, {"id": 7}, ["id was text, is a number"]),
        ({"ok": True}, {"ok": 1}, ["ok was a boolean, is a number"]),
        ({"a": 1}, {"b": "x"}, ["a is gone", "b is new (text)"]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": None}, {"c": "x"}]}}, []),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"d": 1}]}}, ["a.b[].c is gone", "a.b[].d is new (a number)"]),
        ([], [1], []),
        (None, {"a": 1}, []),
        ("text", {"a": 1}, ["the answer was text, is an object"]),
    ],
)
def test_drift_is_of_shapes(recorded: Any, today: Any, differs: list[str]) -> None:
    """Other values are no drift, and null says nothing."""
    assert list(drift(recorded, today)) == differs


async def test_drift_of_a_partner_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """By method and path; what may change something isn't asked."""
    exchanges = [
        Exchange(method="GET", path="/labels", answer=[{"id": "1"}]),
        Exchange(method="GET", path="/gone", answer={}),
        Exchange(method="POST", path="/labels", request={"reference": "1"}),
    ]
    async with world() as carrier:
        carrier.says("GET", "/labels", status=200, json=[{"id": 1, "more": "x"}])
        carrier.says("GET", "/gone", status=410)
        assert await _compare("carrier", exchanges, carrier.carrier.url, {"X-Key": "k"}, all_methods=False) == 1
        assert carrier.asked[0].headers["x-key"] == "k"
        assert [one.method for one in carrier.asked] == ["GET", "GET"]
        assert capsys.readouterr().out.splitlines() == [
            "carrier: GET /labels: [].id was text, is a number",
            "carrier: GET /labels: [].more is new (text)",
            "carrier: GET /gone: answered 200, answers 410",
            "2 asked, 2 differ, 1 left out: they may change something",
        ]
        assert await _compare("carrier", exchanges[2:], carrier.carrier.url, {}, all_methods=True) == 1
        assert carrier.labels == [{"reference": "1", "id": carrier.labels[0]["id"]}]


async def test_a_partner_that_is_away_is_reported_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    """And the recorder answers 502, which is nobody's recording."""
    kept: list[Exchange] = []
    async with world() as carrier:
        away = carrier.carrier.url
    async with recorder(away, kept.append) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 502
    assert kept == []
    assert await _compare("carrier", [Exchange(method="GET", path="/a")], away, {}, all_methods=False) == 1
    assert "carrier: GET /a: no answer" in capsys.readouterr().out


async def test_the_command_records_until_it_is_stopped(project: Path, tmp_path: Path) -> None:
    """Each exchange is in the file at once."""
    file = tmp_path / "carrier.json"
    async with world() as carrier:
        command = [*("-m", "local.partners", "record", "carrier", "--from", carrier.carrier.url), "--to", str(file)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=project, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        url = ready.partition("SLUICE_PARTNER_URLS=carrier=")[2].strip()
        parcel = {"reference": "R1", "email": "a@b.example"}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/labels", json=parcel) as answer:
            assert answer.status == 201
        assert b"POST /labels 201" in await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    _, (one,) = read_recording(file.read_text(encoding="utf-8"))
    assert (one.path, one.request["reference"]) == ("/labels", "R1")
    assert "a@b.example" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "none.json"], "No such file"),
        (["replay", "{file}"], "no recording"),
        (["replay", "{good}", "--against", "http://127.0.0.1:1", "--header", "X-Key=UNSET_VARIABLE"], "X-Key"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with an exit code of 2."""
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    (tmp_path / "good.json").write_text(write_recording("carrier", []), encoding="utf-8")
    names = {"{file}": str(tmp_path / "bad.json"), "{good}": str(tmp_path / "good.json")}
    assert main([names.get(one, one) for one in arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_hostile_text_is_redacted_in_its_length() -> None:
    """Patterns take no exponential time."""
    began = time.process_time()
    for text in (
        "a" * 50_000,
        "1" * 50_000,
        "a@" * 20_000,
        "eyJ" * 20_000,
        "1 " * 20_000,
        "a1-" * 20_000,
        "1(" * 9 + "(" * 50_000,
    ):
        Redaction()(Exchange(method="GET", path="/", answer={"note": text}))
    assert time.process_time() - began < 20
