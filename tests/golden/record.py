"""Plays the scenario with a release's code and prints what it left, or what it saw, as JSON.

    python tests/golden/record.py write --storage CONNECTION --suffix NAME --surface FILE > written.json
    python tests/golden/record.py read  --storage CONNECTION --suffix NAME --surface FILE --from written.json

The release is the one whose `shared` package is found first: run it in that release's tree (`PYTHONPATH=.`). `FILE` is
the release's surface: how it builds its parts. That of the code at hand is `tests/golden/surface.py`; when a release is
cut, it goes to `tests/golden/<release>/` together with what `write` printed as `written.json`, and what `read` printed
on it as `seen.json`.
"""

import argparse
import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: Path) -> ModuleType:
    """A module by its path alone."""
    found = importlib.util.spec_from_file_location(f"golden_{path.parent.name}_{path.stem}", path)
    if found is None or found.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("--storage", required=True)
    parser.add_argument("--suffix", required=True)
    parser.add_argument("--surface", type=Path, required=True)
    parser.add_argument("--from", dest="origin", type=Path)
    known = parser.parse_args()
    scenario, surface = load(Path(__file__).with_name("scenario.py")), load(known.surface)
    stores = scenario.Stores(known.storage, known.suffix)

    async def play() -> dict[str, Any]:
        if known.what == "write":
            return dict(await scenario.write(surface, stores))
        if known.origin is not None:
            await stores.restore(json.loads(known.origin.read_text(encoding="utf-8")))
        return dict(await scenario.read(surface, stores))

    sys.stdout.write(json.dumps(asyncio.run(play()), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
