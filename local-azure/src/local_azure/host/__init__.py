"""Our functions host: runs a Python v2 function app on a laptop as Azure would, its traps included."""
