"""`dev.py partners`: exchanges with a partner are recorded, replayed, and compared with what it answers today."""
