"""Maps a key to its bucket: the partition that holds everything one message changes."""

import hashlib

__all__ = ["bucket_of", "partition_key"]


def bucket_of(key: str, buckets: int) -> int:
    """The bucket of a key, the same on every machine and in every version.

    Example
    -------
    >>> bucket_of("536365", 16)
    11
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def partition_key(bucket: int) -> str:
    """The bucket as a table's PartitionKey."""
    return f"{bucket:04d}"
