"""What the real host sends to the worker for each trigger: names, kinds and texts, apart from how it is listened for.

One module for each trigger; `values` and `net_json` know which .NET type becomes which kind and text.
"""
