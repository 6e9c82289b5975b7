"""Event Hubs triggers: partitions shared among instances, checkpoints in blob storage."""
