"""`dev.py package`: one zip that can be made again, with a bill of materials; or local-azure for others to install."""

from local.packaging.building import Built, PackageOptions, build
from local.packaging.contents import deployed_files
from local.packaging.distribution import Distribution, build_distribution
from local.packaging.errors import PackageError
from local.packaging.ignoring import IgnoreList

__all__ = [
    "Built",
    "Distribution",
    "IgnoreList",
    "PackageError",
    "PackageOptions",
    "build",
    "build_distribution",
    "deployed_files",
]
