"""Event Grid triggers: the webhook with its handshakes, and its events in both schemas."""
