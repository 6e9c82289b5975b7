"""`dev.py package`: one zip that can be made again, with a bill of materials."""

from local.packaging.building import Built, PackageOptions, build
from local.packaging.contents import deployed_files
from local.packaging.errors import PackageError
from local.packaging.ignoring import IgnoreList

__all__ = ["Built", "IgnoreList", "PackageError", "PackageOptions", "build", "deployed_files"]
