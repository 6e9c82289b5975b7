"""What byte code inside the package saves of a cold start: from nothing to the first answer of the API."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from local.app import sample_environment
from local.packaging import PackageOptions, build
from local.packaging.wheels import VENDORED

from .harness import Benchmark

ROOT = Path(__file__).parent.parent
FIRST_ANSWER = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import asyncio
from types import SimpleNamespace
import azure.functions as func
import function_app

(api,) = [one for one in function_app.app.get_functions() if one.get_function_name() == "api"]
request = func.HttpRequest("GET", "http://localhost/api/health", headers={}, params={}, body=b"")
traced = SimpleNamespace(trace_parent="", trace_state="", attributes={})
context = SimpleNamespace(invocation_id="first", function_name="api", trace_context=traced)
answer = asyncio.run(api.get_user_function()(req=request, context=context))
assert answer.status_code == 200, answer.get_body()
"""


def _rounds(rounds: int) -> Iterator[float]:
    with tempfile.TemporaryDirectory(prefix="sluice-cold-") as folder:
        archive, whole, bare = (Path(folder) / name for name in ("app.zip", "whole", "bare"))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        wheels = ROOT / ".sluice" / "wheels"
        build(
            PackageOptions(
                project=ROOT, out=archive, allow_dirty=True, with_packages=True, python=version, wheels=wheels
            )
        )
        for target in (whole, bare):
            with zipfile.ZipFile(archive) as package:
                package.extractall(target)
        for cache in list(bare.rglob("__pycache__")):
            shutil.rmtree(cache)
        _seconds(whole), _seconds(bare)  # both are in the page cache
        for _ in range(rounds):
            yield _seconds(whole) / _seconds(bare)


def _seconds(folder: Path) -> float:
    """Processor time of a fresh process that answers one request and keeps no byte code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= sample_environment(ROOT) | {"PYTHON_ENABLE_INIT_INDEXING": "0"}  # the request below is no stream
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-B", "-S", "-s", "-c", FIRST_ANSWER, str(folder), str(folder / VENDORED)]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


BENCHMARKS = [
    Benchmark(
        name="cold-start",
        claim="processor time to the first answer of the API from a package with byte code / without",
        goal=0.55,
        better="lower",
        rounds=_rounds,
    )
]
