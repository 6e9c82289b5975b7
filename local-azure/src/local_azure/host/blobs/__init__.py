"""Blob triggers: each version of a blob once, found by scanning or told by Event Grid."""
