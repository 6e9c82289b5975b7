"""The lakehouse: every event kept as it came (bronze), typed tables of it (silver), and aggregates (gold)."""
