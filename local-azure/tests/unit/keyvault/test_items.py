"""Versions, soft deletion, recovery, purge and restarts, against a model that knows nothing of how they are kept."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.items import (
    RETENTION_SECONDS,
    Attributes,
    Changes,
    Collection,
    Item,
    Kind,
    Occurrence,
    Version,
    item_from_text,
    item_to_text,
)

NAMES = st.sampled_from(["a", "A", "b", "long-name-1"])
BAD_NAMES = ["", "under_score", "dot.ted", "x" * 128, "slash/ed", "ümlaut"]


@dataclass
class Kept:
    """What would be on disk."""

    texts: dict[str, str] = field(default_factory=dict)
    announcement: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, kind: Kind, item: Item, announcement: tuple[Occurrence, Version] | None) -> None:
        self.texts[item.name.lower()] = item_to_text(item)
        if announcement is not None:
            self.announcement.append((str(announcement[0]), announcement[1].id))

    def drop(self, kind: Kind, name: str) -> None:
        del self.texts[name.lower()]


class World:
    """A collection with a clock that is moved, and version ids that count."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.kept = Kept()
        self._ids = itertools.count()
        self.start()

    def start(self) -> None:
        """Begin with what is on disk, as after a crash."""
        items = [item_from_text(text) for text in self.kept.texts.values()]
        self.collection = Collection(
            Kind.SECRETS, items, keeper=self.kept, now=lambda: self.now, new_id=lambda: f"{next(self._ids):032x}"
        )

    def add(self, name: str, value: str = "v", expires: int | None = None) -> Version:
        return self.collection.add(name, {"value": value}, Attributes(expires=expires))[1]


def refusal(error: pytest.ExceptionInfo[VaultError]) -> tuple[int, str, str | None]:
    return error.value.status, error.value.code, error.value.inner


@dataclass
class Modelled:
    """What a name is known to hold."""

    values: dict[str, str]
    enabled: dict[str, bool]
    deleted_at: int | None = None


class Machine(RuleBasedStateMachine):
    """Does at random what clients do, crashes at random, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.model: dict[str, Modelled] = {}

    @rule(name=NAMES, value=st.text(max_size=3))
    def set(self, name: str, value: str) -> None:
        known = self.model.get(name.lower())
        if known is not None and known.deleted_at is not None:
            with pytest.raises(VaultError) as error:
                self.world.add(name, value)
            assert refusal(error) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
            return
        version = self.world.add(name, value)
        known = self.model.setdefault(name.lower(), Modelled({}, {}))
        known.values[version.id], known.enabled[version.id] = value, True

    @rule(name=NAMES, latest=st.booleans(), enabled=st.booleans())
    def enable(self, name: str, latest: bool, enabled: bool) -> None:
        known = self.model.get(name.lower())
        if known is None or known.deleted_at is not None:
            with pytest.raises(VaultError) as error:
                self.world.collection.change(name, "", Changes(enabled=enabled))
            assert refusal(error) == (404, "SecretNotFound", None)
            return
        ids = list(known.values)
        changed = ids[-1] if latest else ids[0]
        self.world.collection.change(name, "" if latest else changed, Changes(enabled=enabled))
        known.enabled[changed] = enabled

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        known = self.model.get(name.lower())
        if known is None or known.deleted_at is not None:
            with pytest.raises(VaultError) as error:
                self.world.collection.delete(name)
            assert error.value.status == 404
            return
        self.world.collection.delete(name)
        known.deleted_at = self.world.now

    @rule(name=NAMES)
    def recover(self, name: str) -> None:
        known = self.model.get(name.lower())
        if known is None or known.deleted_at is None:
            with pytest.raises(VaultError) as error:
                self.world.collection.recover(name)
            assert error.value.status == 404
            return
        self.world.collection.recover(name)
        known.deleted_at = None

    @rule(name=NAMES)
    def purge(self, name: str) -> None:
        known = self.model.get(name.lower())
        if known is None or known.deleted_at is None:
            with pytest.raises(VaultError) as error:
                self.world.collection.purge(name)
            assert error.value.status == 404
            return
        self.world.collection.purge(name)
        del self.model[name.lower()]

    @rule(seconds=st.sampled_from([1, 3_600, RETENTION_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds
        self.world.collection.sweep(60)
        for name, known in list(self.model.items()):
            if known.deleted_at is not None and known.deleted_at + RETENTION_SECONDS <= self.world.now:
                del self.model[name]

    @precondition(lambda self: self.model)
    @rule()
    def crash(self) -> None:
        self.world.start()

    @invariant()
    def same(self) -> None:
        collection = self.world.collection
        present = {name: known for name, known in self.model.items() if known.deleted_at is None}
        assert [item.name.lower() for item in collection.present()] == sorted(present)
        assert [item.name.lower() for item in collection.deleted()] == sorted(set(self.model) - set(present))
        for name, known in present.items():
            item, latest = collection.find(name)
            assert {each.id: each.content["value"] for each in item.versions} == known.values
            assert {each.id: each.attributes.enabled for each in item.versions} == known.enabled
            assert latest.id == list(known.values)[-1]
            for version in known.values:
                assert collection.find(name.upper(), version)[1].id == version


TestShelf = Machine.TestCase


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(VaultError) as error:
        World().add(name)
    assert refusal(error) == (400, "BadParameter", None)


def test_expiry_is_told_once_near_and_once_after_and_again_for_a_new_date() -> None:
    world = World()
    version = world.add("a", expires=world.now + 100)
    world.kept.announcement.clear()
    for _ in range(3):
        world.collection.sweep(10)
    assert world.kept.announcement == []
    world.now += 90
    for _ in range(2):
        world.collection.sweep(10)
        world.start()
    assert world.kept.announcement == [("NearExpiry", version.id)]
    world.now += 10
    for _ in range(2):
        world.collection.sweep(10)
    assert world.kept.announcement == [("NearExpiry", version.id), ("Expired", version.id)]
    world.collection.change("a", "", Changes(expires=world.now + 5))
    world.collection.sweep(10)
    assert world.kept.announcement[2:] == [("NearExpiry", version.id)]


def test_only_the_latest_version_tells_of_its_expiry() -> None:
    world = World()
    world.add("a", expires=world.now + 1)
    new = world.add("a")
    world.now += 2
    world.collection.sweep(10)
    assert [announcement for announcement in world.kept.announcement if announcement[0] != "NewVersionCreated"] == []
    assert world.kept.announcement[-1] == ("NewVersionCreated", new.id)


def test_a_change_that_cannot_be_kept_is_not_seen() -> None:
    world = World()
    before = world.add("a", "kept")

    def refuse(kind: Kind, item: Item, announcement: object) -> None:
        raise OSError("disk full")

    world.kept.keep = refuse  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk full"):
        world.add("a", "lost")
    assert world.collection.find("a")[1] == before


def test_a_value_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(World().add("a", "hunter2"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "a", "versions": [{}], "deleted_at": null}'])
def test_what_is_no_item_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"item|Expecting"):
        item_from_text(text)
