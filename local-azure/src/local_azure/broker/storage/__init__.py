"""Durability: one SQLite file in WAL mode, written by one thread with group commit."""

from local_azure.broker.storage.database import Database, StorageError
from local_azure.broker.storage.journal import DurableJournal

__all__ = ["Database", "DurableJournal", "StorageError"]
