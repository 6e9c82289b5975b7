"""Brings a built zip to Azure: smoke test, load test, rolling and blue-green rollout. Standard library and `az` only,
so that a pipeline's runner needs nothing installed."""
