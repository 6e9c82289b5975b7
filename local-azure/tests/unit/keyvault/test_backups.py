"""What a backup may be, and what is refused."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from local_azure.keyvault.backups import KEY_BYTES, Backups
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.items import Item, Kind, Version
from local_azure.keyvault.storage import Storage, StorageError

ITEM = Item("a", tuple(Version(str(each), 1, 1, {"value": "of-the-secret"}) for each in range(3)))
KEY = bytes(range(KEY_BYTES))


def test_a_backup_holds_every_version_and_shows_nothing() -> None:
    text = Backups(KEY).write(Kind.SECRETS, ITEM)
    assert Backups(KEY).read(Kind.SECRETS, text) == ITEM
    assert b"of-the-secret" not in base64.urlsafe_b64decode(text + "==")


def test_only_an_unchanged_backup_of_this_vault_and_kind_is_read() -> None:
    text = Backups(KEY).write(Kind.SECRETS, ITEM)
    changed = bytearray(base64.urlsafe_b64decode(text + "=="))
    changed[-1] ^= 1
    tampered = base64.urlsafe_b64encode(changed).decode()
    for kind, given in ((Kind.KEYS, text), (Kind.SECRETS, tampered), (Kind.SECRETS, ""), (Kind.SECRETS, None)):
        with pytest.raises(VaultError) as error:
            Backups(KEY).read(kind, given)
        assert error.value.status == 400
    with pytest.raises(VaultError):
        Backups(os.urandom(KEY_BYTES)).read(Kind.SECRETS, text)


def test_what_could_not_be_restored_is_not_backed_up() -> None:
    large = Item("a", tuple(Version(str(each), 1, 1, {"value": "x" * 25_000}) for each in range(9)))
    with pytest.raises(VaultError) as error:
        Backups(KEY).write(Kind.SECRETS, large)
    assert error.value.status == 400


def test_the_key_stays_with_the_data_directory_and_is_its_owners(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    key = storage.backup_key()
    assert (len(key), storage.backup_key()) == (KEY_BYTES, key)
    assert (tmp_path / "backup.key").stat().st_mode & 0o077 == 0
    (tmp_path / "backup.key").write_bytes(b"short")
    with pytest.raises(StorageError):
        storage.backup_key()
    storage.close()
