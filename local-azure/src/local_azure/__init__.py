"""Azure on a laptop: Service Bus and Event Hubs broker, Functions host, Key Vault, identity."""
