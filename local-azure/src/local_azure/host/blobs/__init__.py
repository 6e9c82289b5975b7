"""Blob triggers: each version of a blob once, found by scanning or by an event of Event Grid."""
