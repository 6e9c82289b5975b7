"""Stand-ins for what can't be had here: `az` as a program on the path, and a deployment that answers over HTTP."""

from __future__ import annotations

import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = '''#!{python} -IS
"""A subscription in a file: apps with functions, blobs, a backend pool; `fail` lists what is refused."""
import json, pathlib, shutil, sys
state_file = pathlib.Path({state!r})
state = json.loads(state_file.read_text())
words = sys.argv[1:]
state["calls"].append(words)
line = " ".join(words)
def option(name):
    return words[words.index(name) + 1] if name in words else None
def done(answer=None):
    state_file.write_text(json.dumps(state))
    if answer is not None:
        print(json.dumps(answer))
    sys.exit(0)
def refuse(reason):
    state_file.write_text(json.dumps(state))
    print("WARNING: noise before the reason", file=sys.stderr)
    print("ERROR: " + reason, file=sys.stderr)
    sys.exit(1)
for number, fragments in enumerate(state["fail"]):
    if all(fragment in line for fragment in fragments["all"]):
        if fragments.get("once"):
            del state["fail"][number]
        refuse("refused on purpose")
name, apps, folder = option("--name"), state["apps"], pathlib.Path({folder!r})
if line.startswith("deployment sub show"):
    done(state["outputs"])
if line.startswith("functionapp deployment source config-zip"):
    apps[name]["zip"] = pathlib.Path(option("--src")).read_bytes().hex()
    done()
if line.startswith("functionapp function list"):
    done([{{"name": name + "/" + one}} for one in apps[name]["functions"]])
if line.startswith("functionapp config appsettings set"):
    apps[name]["release"] = option("--settings").removeprefix("SLUICE_RELEASE=")
    done({{}})
if line.startswith("functionapp start") or line.startswith("functionapp stop"):
    apps[name]["running"] = words[1] == "start"
    done()
if line.startswith("storage blob exists"):
    done({{"exists": (folder / name).exists()}})
if line.startswith("storage blob upload"):
    if (folder / name).exists() and "--overwrite" not in words:
        refuse("The specified blob already exists.")
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copy(option("--file"), folder / name)
    done({{}})
if line.startswith("storage blob download"):
    if not (folder / name).exists():
        refuse("The specified blob does not exist.")
    shutil.copy(folder / name, option("--file"))
    done({{}})
if line.startswith("rest --method get"):
    done({{"properties": {{"pool": {{"services": state["pool"]}}}}}})
if line.startswith("rest --method patch"):
    state["pool"] = json.loads(option("--body"))["properties"]["pool"]["services"]
    done({{}})
refuse("unknown command: " + line)
'''


@dataclass
class Subscription:
    """What the stand-in for `az` works on."""

    file: Path

    @property
    def state(self) -> dict[str, Any]:
        """Everything, as it is now."""
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    def change(self, **parts: Any) -> None:
        """Replace parts of the state."""
        self.file.write_text(json.dumps({**self.state, **parts}), encoding="utf-8")

    def fail(self, *fragments: str, once: bool = False) -> None:
        """Refuse every command that has all of these texts in it, or only the next one."""
        self.change(fail=[*self.state["fail"], {"all": fragments, "once": once}])

    def weights(self) -> dict[str, int]:
        """Weights of the pool by backend."""
        return {one["id"].rpartition("/")[2]: one["weight"] for one in self.state["pool"]}

    def running(self) -> list[str]:
        """Apps whose triggers run."""
        return sorted(name for name, app in self.state["apps"].items() if app["running"])


@pytest.fixture
def subscription(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subscription:
    """Four apps, two colours, an empty container of releases; `az` on the path works on it."""
    blobs, programs, file = tmp_path / "blobs", tmp_path / "bin", tmp_path / "subscription.json"
    blobs.mkdir()
    programs.mkdir()
    apps = {
        name: {"functions": ["api", "lane_high"], "zip": "", "running": not name.startswith("green")}
        for name in ("blue-api", "blue-lanes", "green-api", "green-lanes")
    }
    pool = [{"id": "/backends/blue", "priority": 1, "weight": 100}, {"id": "/backends/green", "weight": 0}]
    file.write_text(json.dumps({"calls": [], "fail": [], "apps": apps, "pool": pool}), encoding="utf-8")
    program = programs / "az"
    program.write_text(PROGRAM.format(python=sys.executable, state=str(file), folder=str(blobs)), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return Subscription(file)


def package(folder: Path, content: str) -> Path:
    """A zip that looks like the app's."""
    path = folder / f"{content}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("function_app.py", content)
        archive.writestr("host.json", "{}")
    return path


@dataclass
class Deployment:
    """A deployment that answers like the API; `broken` names what it gets wrong."""

    broken: set[str] = field(default_factory=set)
    posted: list[str] = field(default_factory=list)
    authorized: list[str | None] = field(default_factory=list)
    called: set[tuple[str, str]] = field(default_factory=set)
    asked: int = 0
    url: str = ""


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """A deployment on a port of its own."""
    world = Deployment()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world.called.add(("get", self.path))
            if self.path.startswith("/api/operations/"):
                world.asked += 1
                self._say(200, {"status": "accepted" if "stuck" in world.broken or world.asked < 2 else "succeeded"})
            elif self.path.startswith("/api/health/ready"):
                self._say(503 if "unready" in world.broken else 200, {})
            else:
                self._say(200, {})

        def do_POST(self) -> None:
            world.called.add(("post", self.path))
            self.rfile.read(int(self.headers["Content-Length"]))
            world.authorized.append(self.headers["Authorization"])
            if self.headers["Authorization"] is None and "open" not in world.broken:
                self._say(401, {"error": {"code": "NOT_AUTHENTICATED"}})
            elif "failing" in world.broken:
                self._say(503, {"error": {"code": "UNAVAILABLE"}})
            else:
                world.posted.append(self.headers["Idempotency-Key"])
                self._say(202, {}, {"Location": "/api/operations/one"})

        def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield world
    server.shutdown()
    thread.join()
    server.server_close()
