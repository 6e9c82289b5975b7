"""Path patterns of blob triggers."""

import pytest

from local_azure.host.blobs.path import BlobPath, blob_of_url


@pytest.mark.parametrize(
    ("path", "blob", "expected"),
    [
        ("in/{name}", "a/b.csv", {"name": "a/b.csv"}),
        ("in/{name}.csv", "a.csv", {"name": "a"}),
        ("in/{name}.csv", "a.txt", None),
        ("in/{folder}/{name}.{extension}", "x/y.tar.gz", {"folder": "x", "name": "y.tar", "extension": "gz"}),
        ("in/exact.txt", "exact.txt", {}),
        ("in/exact.txt", "exactAtxt", None),
        ("in", "anything", {}),
    ],
)
def test_match(path: str, blob: str, expected: dict[str, str] | None) -> None:
    assert BlobPath(path).match(blob) == expected


def test_the_prefix_narrows_the_scan() -> None:
    assert BlobPath("in/day/{name}.csv").prefix == "day/"


@pytest.mark.parametrize("path", ["", "{c}/x", "in/{a", "in/a}"])
def test_refuses_malformed_paths(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        BlobPath(path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acc.blob.core.windows.net/in/a/b%20c.csv", ("in", "a/b c.csv")),
        ("http://127.0.0.1:10000/devstoreaccount1/in/a.csv", ("in", "a.csv")),
        ("https://acc.blob.core.windows.net/in", None),
        ("nonsense", None),
    ],
)
def test_blobs_in_urls(url: str, expected: tuple[str, str] | None) -> None:
    assert blob_of_url(url) == expected
