"""Tokenization: the same value always has the same token, and without the key nobody finds the value behind it."""

from .tokens import TokenKeys, Tokens

__all__ = ["TokenKeys", "Tokens"]
