"""The lake: every event as it came (bronze), typed tables of them (silver), and what is counted from those (gold)."""

__all__: list[str] = []
