"""Command line of `dev.py package`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local.packaging.building import Built, PackageOptions, build
from local.packaging.distribution import build_distribution
from local.packaging.errors import PackageError

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Build the package; 0, or 2 after saying in one line why there is none."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.local_azure:
        return _build_local_azure(given.out)
    try:
        options = PackageOptions(
            project=_PROJECT,
            out=(given.out or _PROJECT / "dist" / "sluice.zip").absolute(),
            allow_dirty=given.allow_dirty,
            with_packages=given.with_packages,
            python=given.python,
            wheels=_PROJECT / ".sluice" / "wheels",
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        built = build(options)
    except PackageError as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    print(_told(options, built), flush=True)  # noqa: T201
    return 0


def _build_local_azure(folder: Path | None) -> int:
    try:
        built = build_distribution(_PROJECT, folder or _PROJECT / "dist", _PROJECT / ".sluice" / "backends")
    except PackageError as error:
        print(f"dev.py: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    for path in (built.wheel, built.source):
        print(f"{path}  {path.stat().st_size:,} bytes", flush=True)  # noqa: T201
    return 0


def _told(options: PackageOptions, built: Built) -> str:
    packages = f", {built.packages} packages" if built.packages else ""
    alone = "nothing but its own packages" if built.own_packages else "the packages installed here"
    rows = {
        "package": options.out,
        "holds": f"{built.files} files{packages}, {built.zip.size:,} bytes",
        **({"byte code": _byte_code(options, built)} if options.with_packages else {}),
        "commit": built.commit or "none: made of what lay in the folder",
        "sha256": built.zip.sha256,
        "bill of materials": options.sbom,
        "import": f"{built.import_seconds * 1_000:.0f} ms, with {alone}",
        "functions": f"{len(built.functions)}: {', '.join(built.functions)}",
    }
    return "\n".join(f"{name:<18} {value}" for name, value in rows.items())


def _byte_code(options: PackageOptions, built: Built) -> str:
    if built.compiled:
        return f"{built.compiled} files, for Python {options.python}"
    return f"none: there is no python{options.python} here, so every cold start compiles the app and its packages"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py package",
        description="Build one zip to deploy, the same bytes for the same commit, with a CycloneDX bill of materials.",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: dist/sluice.zip; with --local-azure a folder, dist)"
    )
    parser.add_argument(
        "--local-azure", action="store_true", help="build wheel and source distribution of local-azure instead"
    )
    parser.add_argument(
        "--with-packages", action="store_true", help="put the third-party packages in: no build in Azure is needed"
    )
    parser.add_argument("--python", default="3.12", metavar="3.11|…|3.14", help="version in Azure (default: 3.12)")
    parser.add_argument("--allow-dirty", action="store_true", help="take the files as they are, committed or not")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
