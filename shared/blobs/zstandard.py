"""Zstandard, of the standard library where that has it (Python 3.14), of its backport before. Loaded on first use."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
