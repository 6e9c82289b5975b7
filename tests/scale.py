"""How many times as many generated cases as usual: `SLUICE_TEST_SCALE`, 10 in the nightly run, 1 by default."""

import os

__all__ = ["SCALE"]

SCALE = float(os.environ.get("SLUICE_TEST_SCALE", "1"))
