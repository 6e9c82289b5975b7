"""How each language's driver is built and started; what a machine lacks is named."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["BUILDERS", "Missing", "build"]

_DRIVERS = Path(__file__).parent / "drivers"
_BUILD_SECONDS = 600.0
"""For a first download of everything; later runs find it in the cache."""


class Missing(Exception):
    """The machine lacks what a language needs; the text names it."""


def build(language: str, cache: Path) -> list[str]:
    """The command that starts a language's driver, built if need be in a folder of `cache`."""
    return BUILDERS[language](cache)


def _proton(_: Path) -> list[str]:
    system = Path("/usr/bin/python3")  # Debian's package serves the system's Python alone
    if not system.exists() or _run([str(system), "-c", "import proton"], check=False) != 0:
        raise Missing("python3-qpid-proton not installed")
    return [str(system), str(_DRIVERS / "proton" / "raw.py")]


def _node(script: str) -> Callable[[Path], list[str]]:
    def command(cache: Path) -> list[str]:
        node, npm = _find("node"), _find("npm")
        source = _DRIVERS / "javascript"
        with _folder(cache, "javascript", [source / "package-lock.json"]) as (folder, fresh):
            if fresh:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(source / name, folder)
                _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)
            for module in source.glob("*.mjs"):  # beside node_modules, where Node looks for packages
                shutil.copy(module, folder)
        return [node, str(folder / script)]

    return command


def _go(cache: Path) -> list[str]:
    go = _find("go")
    source = _DRIVERS / "go"
    with _folder(cache, "go", sorted(source.iterdir())) as (folder, fresh):
        program = folder / "driver"
        if fresh:
            environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
            _run([go, "build", "-o", str(program), "."], cwd=source, environment=environment)
    return [str(program)]


def _java(cache: Path) -> list[str]:
    java, javac, maven = _find("java"), _find("javac"), _find("mvn")
    source = _DRIVERS / "java"
    with _folder(cache, "java-libraries", [source / "pom.xml"]) as (libraries, fresh):
        if fresh:
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
            _run([maven, "-q", "-B", "-f", str(source / "pom.xml"), *goal], cwd=libraries)
    sources = sorted(source.glob("*.java"))
    with _folder(cache, "java-classes", [source / "pom.xml", *sources]) as (classes, fresh):
        path = f"{classes}{os.pathsep}{libraries}/*"
        if fresh:
            _run([javac, "-nowarn", "-cp", path, "-d", str(classes), *map(str, sources)], cwd=classes)
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]  # short runs: no time to optimise
    return [java, *quick, "-cp", path, "Driver"]


BUILDERS: Mapping[str, Callable[[Path], list[str]]] = {
    "javascript": _node("sdk.mjs"),
    "java": _java,
    "go": _go,
    "proton": _proton,
    "rhea": _node("raw.mjs"),
}


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} not installed")
    return found


@contextmanager
def _folder(cache: Path, name: str, inputs: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """The folder for one state of the inputs, and whether it has to be filled; one process at a time."""
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in inputs)).hexdigest()[:16]
    folder = cache / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / ".whole"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not whole.exists()
        whole.touch()


def _run(
    command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None, check: bool = True
) -> int:
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(
            f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-3000:].decode()}"
        )
    return done.returncode
