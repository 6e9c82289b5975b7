"""What a cold start pays for the app itself, beyond the libraries that it can't do without."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .harness import Benchmark

ROOT = Path(__file__).parent.parent
BARE = "import azure.functions, fastapi, azure.servicebus.aio, azure.data.tables.aio"
APP = "import function_app"
REPEATS = 3


def _seconds(code: str) -> float:
    """The fastest of a few fresh processes: whatever is slower was disturbed."""
    environment = os.environ | {
        "ServiceBus": "Endpoint=sb://localhost;SharedAccessKeyName=x;SharedAccessKey=x",
        "EventHubs": "Endpoint=sb://localhost;SharedAccessKeyName=x;SharedAccessKey=x",
        "State": "UseDevelopmentStorage=true",
        "Claims": "UseDevelopmentStorage=true",
        "SLUICE_OPERATION_KEY": "-" * 40,
        "SLUICE_AUTH": "none",
    }
    timings = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
        timings.append(time.perf_counter() - started)
    return min(timings)


def _rounds(rounds: int) -> Iterator[float]:
    _seconds(BARE), _seconds(APP)  # byte code is compiled once
    empty = _seconds("pass")
    for _ in range(rounds):
        bare, app = _seconds(BARE), _seconds(APP)
        yield (app - empty) / (bare - empty)


BENCHMARKS = [
    Benchmark(
        name="import-time",
        claim="time of `import function_app` / time of importing its bare dependencies",
        goal=1.5,
        better="lower",
        rounds=_rounds,
    )
]
