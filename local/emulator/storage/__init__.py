"""Durability: one SQLite file in WAL mode, written by one thread with group commit."""

from local.emulator.storage.database import Database, StorageError
from local.emulator.storage.journal import DurableJournal

__all__ = ["Database", "DurableJournal", "StorageError"]
