"""`python -m bench [NAME...] [--json FILE] [--rounds N] [--keep] [--list]`, and `python -m bench operations`."""

import argparse
import json
import sys
from pathlib import Path

from . import operations
from .harness import ROUNDS, discover, keep, run, table


def main() -> int:
    """Run the named benchmarks, or all; exit code 1 where a goal is missed."""
    if sys.argv[1:2] == ["operations"]:  # counts, not ratios
        return operations.main(sys.argv[2:])
    benchmarks = discover()
    parser = argparse.ArgumentParser(prog="dev.py bench", description="Ratios against declared goals.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all without")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds each, at least {ROUNDS}")
    parser.add_argument("--keep", action="store_true", help="add the results to bench/RESULTS.md")
    parser.add_argument("--list", action="store_true", help="only list the benchmarks")
    arguments = parser.parse_args()
    if arguments.list:
        for benchmark in benchmarks.values():
            print(f"{benchmark.name}: {benchmark.claim}")
        return 0
    unknown = [name for name in arguments.names if name not in benchmarks]
    if unknown or arguments.rounds < ROUNDS:
        parser.error(
            f"no benchmark is called {', '.join(unknown)}; there are {', '.join(benchmarks)}"
            if unknown
            else f"--rounds must be {ROUNDS} or more"
        )
    results = [one for name in arguments.names or benchmarks for one in run(benchmarks[name], arguments.rounds)]
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([result.as_json() for result in results], indent=2) + "\n", "utf-8")
    if arguments.keep:
        keep(results)
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
