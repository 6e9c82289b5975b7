"""What is shared: names that can be, each once; tokens that hold, for those who hold them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.authentication import CannotTell, Role, Unauthenticated
from shared.environment import WrongSettings
from shared.settings import Settings
from shared.sharing import NotShared, Shares, ShareTokens, WrongToken
from shared.tables import MemoryTable, Upsert
from tests.unit.functions.conftest import ENVIRONMENT

TOKEN = "slshare_" + "t" * 43


def test_names_are_compared_without_case() -> None:
    """As the protocol has it."""
    shares = Shares({"Sales": {"gold": ["daily_sales"], "silver": []}})
    table = shares.table("SALES", "Gold", "Daily_Sales")
    assert (table.share, table.schema, table.name) == ("Sales", "gold", "daily_sales")
    assert shares.schemas("sales") == ["gold"]
    for wrong in (("x", "gold", "daily_sales"), ("sales", "x", "daily_sales"), ("sales", "gold", "x")):
        with pytest.raises(NotShared):
            shares.table(*wrong)


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        '{"a": []}',
        '{"a": {"gold": "x"}}',
        '{"a": {"gold": [1]}}',
        '{"a": {"quarantine": ["x"]}}',
        '{"a": {"gold": ["../x"]}}',
        '{"a": {"gold": ["x", "x"]}}',
        '{"a": {}, "A": {}}',
        '{"a b": {}}',
        json.dumps({f"s{number}": {} for number in range(101)}),
        json.dumps({"s": {"gold": [f"t{number}" for number in range(1_001)]}}),
        "[" * 60_000,
    ],
)
def test_what_can_t_be_shared_is_refused_at_start(text: str) -> None:
    """The error names the setting."""
    with pytest.raises(WrongSettings, match="SLUICE_SHARES"):
        Settings.load({**ENVIRONMENT, "Lake": "AccountName=a;AccountKey=Yg==", "SLUICE_SHARES": text})


def test_shares_need_a_lake() -> None:
    """Whose tables they are."""
    with pytest.raises(WrongSettings, match="SLUICE_SHARES needs Lake"):
        Settings.load({**ENVIRONMENT, "SLUICE_SHARES": '{"sales": {"gold": ["x"]}}'})


class Broken(MemoryTable):
    """A table that may be away."""

    away = False
    reads = 0

    async def page(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        """Rows, or nothing at all."""
        self.reads += 1
        if self.away:
            raise ConnectionError("away")
        return await super().page(*arguments, **options)  # type: ignore[arg-type]


class World:
    """Tokens, their table, and time that is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.table = Broken("state")
        self.tokens = ShareTokens(self.table, now=lambda: self.at, clock=lambda: self.at.timestamp())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)

    async def add(self, token: str = TOKEN, recipient: str = "acme", days: int = 1) -> str:
        """Make a token; its id."""
        about = {"recipient": recipient, "by": "me", "reason": "test"}
        made = await self.tokens.add(token, shares=["Sales"], sees=Role.READER, days=days, **about)
        return made.id


async def test_a_token_holds_until_it_ends() -> None:
    """For its recipient, with its shares and no role but one."""
    world = World()
    await world.add()
    caller = await world.tokens.caller(TOKEN.encode())
    assert (caller.client, set(caller.roles), set(caller.shares)) == ("share:acme", {Role.RECIPIENT}, {"sales"})
    for wrong in (b"", TOKEN[:-1].encode(), TOKEN.encode() + b"t", b"\xff\xfe"):
        with pytest.raises(Unauthenticated, match="isn't known"):
            await world.tokens.caller(wrong)
    world.wait(86_400)
    with pytest.raises(Unauthenticated, match="ended at 2026-01-02T00:00:00"):
        await world.tokens.caller(TOKEN.encode())


async def test_what_is_withdrawn_ends_within_seconds() -> None:
    """On an instance that knew it too, and that alone."""
    world = World()
    await world.add()
    await world.add(TOKEN + "2")
    await world.tokens.caller(TOKEN.encode())
    assert [one.recipient for one in await world.tokens.withdraw("acme")] == ["acme", "acme"]
    world.wait(5)
    with pytest.raises(Unauthenticated, match="withdrawn"):
        await world.tokens.caller(TOKEN.encode())
    assert await world.tokens.withdraw("acme") == []


async def test_a_flood_of_invented_tokens_reads_the_store_once() -> None:
    """And again only seconds later."""
    world = World()
    await world.add()
    before = world.table.reads
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await world.tokens.caller(f"slshare_{number}".encode())
    assert world.table.reads == before + 1


async def test_while_the_store_is_away_known_tokens_hold_for_minutes() -> None:
    """Then nobody can tell; where nothing was ever read, at once."""
    world = World()
    await world.add()
    await world.tokens.caller(TOKEN.encode())
    world.table.away = True
    world.wait(290)
    assert (await world.tokens.caller(TOKEN.encode())).client == "share:acme"
    world.wait(20)
    with pytest.raises(CannotTell):
        await world.tokens.caller(TOKEN.encode())
    other = ShareTokens(world.table, now=lambda: world.at, clock=lambda: world.at.timestamp())
    with pytest.raises(CannotTell):
        await other.caller(TOKEN.encode())
    world.table.away = False
    world.wait(5)
    assert (await world.tokens.caller(TOKEN.encode())).client == "share:acme"


async def test_a_row_that_somebody_broke_locks_nobody_out() -> None:
    """It is left out."""
    world = World()
    await world.add()
    await world.table.submit([Upsert({"PartitionKey": "share-tokens", "RowKey": "0" * 64, "recipient": "x"})])
    assert (await world.tokens.caller(TOKEN.encode())).client == "share:acme"
    assert len(await world.tokens.all()) == 1


async def test_tokens_that_are_forgotten_leave_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many can be made again as there may be."""
    monkeypatch.setattr("shared.sharing.tokens.MOST", 2)
    world = World()
    await world.add()
    await world.add(TOKEN + "2", days=365)
    with pytest.raises(WrongToken, match="2 tokens already"):
        await world.add(TOKEN + "3")
    world.wait(86_400 * 92)
    await world.add(TOKEN + "3")
    with pytest.raises(WrongToken, match="2 tokens already"):
        await world.add(TOKEN + "4")


async def test_old_tokens_are_forgotten() -> None:
    """When another one is made, months after they ended."""
    world = World()
    await world.add()
    world.wait(86_400 * 92)
    await world.add(TOKEN + "2", recipient="other")
    assert [one.recipient for one in await world.tokens.all()] == ["other"]
    with pytest.raises(WrongToken, match="1 to 365"):
        await world.add(TOKEN + "3", days=0)
