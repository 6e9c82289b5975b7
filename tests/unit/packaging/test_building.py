"""What goes into the package, what is refused, and that the same files give the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local.packaging import PackageError, PackageOptions, build, deployed_files
from local.packaging.archive import write_zip
from local.packaging.requirements import Pin, pins
from local.packaging.sbom import Application, bill_of_materials
from local.packaging.wheels import unpacked

APP = """\
import azure.functions as func
from pydantic import BaseModel, Field

class Settings(BaseModel):
    buckets: int = Field(4, alias="BUCKETS", ge=1)

settings = Settings()
app = func.FunctionApp()

@app.route("x")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x")
"""
FILES = {
    "function_app.py": APP,
    "host.json": '{"version": "2.0"}',
    "requirements.txt": "azure-functions==1.26.0\npydantic==2.14.3\nhere==1.0 ; sys_platform == 'win32'\n",
    "shared/__init__.py": "",
    "local/secret.py": "",
    ".funcignore": ".*\nlocal/\n*.toml\n",
    "pyproject.toml": '[project]\nname = "tiny"\nversion = "1.2.3"\nlicense = { text = "MIT" }\n',
}
DEPLOYED = ["function_app.py", "host.json", "requirements.txt", "shared/__init__.py"]


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tiny app, committed."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root.parent, "init", "-q", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def test_what_is_ignored_stays_out(project: Path) -> None:
    assert deployed_files(project) == DEPLOYED
    assert deployed_files(project, allow_dirty=True) == DEPLOYED


def test_two_builds_are_the_same_whenever_and_however_the_files_were_written(project: Path, tmp_path: Path) -> None:
    one = build(PackageOptions(project=project, out=tmp_path / "one.zip"))
    for name in DEPLOYED:
        os.utime(project / name, (1, 1))
        (project / name).chmod(0o755)
    git(project, "config", "core.fileMode", "false")
    two = build(PackageOptions(project=project, out=tmp_path / "two" / "two.zip"))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two" / "two.zip").read_bytes()
    assert one.zip == two.zip
    assert (tmp_path / "one.cdx.json").read_text() == (tmp_path / "two" / "two.cdx.json").read_text()
    assert one.functions == ("hello",)
    assert one.import_seconds > 0
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == DEPLOYED
    bill = json.loads((tmp_path / "one.cdx.json").read_text())
    assert bill["metadata"]["component"]["hashes"][0]["content"] == one.zip.sha256
    assert [one["name"] for one in bill["components"]] == ["azure-functions", "pydantic"]


def changed(project: Path) -> None:
    (project / "host.json").write_text("{}")


def added(project: Path) -> None:
    (project / "shared" / "new.py").write_text("")


def removed(project: Path) -> None:
    (project / "host.json").unlink()


def removed_for_good(project: Path) -> None:
    git(project, "rm", "-q", "host.json")
    git(project, "commit", "-qm", "two")


def linked(target: str) -> Callable[[Path], None]:
    def link(project: Path) -> None:
        (project / "shared" / "link.py").symlink_to(target)
        git(project, "add", "-A")
        git(project, "commit", "-qm", "two")

    return link


def unlisted(project: Path) -> None:
    (project / ".funcignore").unlink()


def loose(project: Path) -> None:
    (project / "requirements.txt").write_text("azure-functions>=1\n")
    git(project, "commit", "-qam", "two")


def broken(project: Path) -> None:
    (project / "function_app.py").write_text("import nowhere_at_all\n")
    git(project, "commit", "-qam", "two")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (changed, "not committed: host.json"),
        (added, "not committed: shared/new.py"),
        (removed, "not committed: host.json"),
        (removed_for_good, "host.json is missing or ignored"),
        (linked("/etc/hostname"), "link that leaves the project"),
        (linked("../local/secret.py"), "link to something that is not deployed"),
        (linked("link.py"), "shared/link.py can't be read"),
        (linked("../shared"), "neither a file nor a link to one"),
        (unlisted, ".funcignore can't be read"),
        (loose, "requirements.txt:1 is not pinned"),
        (broken, "does not start: .*nowhere_at_all"),
    ],
)
def test_what_can_not_be_deployed_is_refused(
    project: Path, tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(project)
    with pytest.raises(PackageError, match=said):
        build(PackageOptions(project=project, out=tmp_path / "out.zip"))


def test_what_is_ignored_may_be_uncommitted(project: Path) -> None:
    (project / "local" / "secret.py").write_text("changed")
    (project / "local" / "new.py").write_text("")
    assert deployed_files(project) == DEPLOYED


def test_a_folder_without_commits_is_packaged_only_when_asked(tmp_path: Path) -> None:
    for name in ("function_app.py", "host.json", "requirements.txt", ".funcignore"):
        (tmp_path / name).write_text("")
    with pytest.raises(PackageError, match="not a git checkout"):
        deployed_files(tmp_path)
    assert deployed_files(tmp_path, allow_dirty=True) == [".funcignore", *DEPLOYED[:3]]


def test_a_link_inside_the_tree_becomes_a_file(project: Path, tmp_path: Path) -> None:
    linked("../host.json")(project)
    build(PackageOptions(project=project, out=tmp_path / "out.zip"))
    entry = zipfile.ZipFile(tmp_path / "out.zip").getinfo("shared/link.py")
    assert entry.external_attr >> 16 == 0o644
    assert zipfile.ZipFile(tmp_path / "out.zip").read(entry) == (project / "host.json").read_bytes()


def test_a_full_disk_leaves_nothing_behind_and_what_was_there_untouched(tmp_path: Path) -> None:
    """A limit on the size of a file is refused by the kernel where a full disk is."""
    target = tmp_path / "out.zip"
    target.write_bytes(b"before")
    code = (
        "import pathlib, resource, sys\n"
        "from local.packaging import PackageError\n"
        "from local.packaging.archive import write_zip\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    write_zip(pathlib.Path(sys.argv[1]), [('a', bytes(100_000))])\n"
        "except PackageError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert "there is no room for" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]
    assert target.read_bytes() == b"before"


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageError, match="can't be written"):
        write_zip(tmp_path / "file" / "out.zip", [])


def test_pins_are_those_of_the_target() -> None:
    text = "# note\nb==2 ; sys_platform == 'linux'\nA_a==1.0\nc==3 ; python_version < '3.12'\nd==4 ; os_name == 'nt'\n"
    assert pins(text, "3.12") == [Pin("a-a", "1.0"), Pin("b", "2")]
    assert pins(text, "3.11") == [Pin("a-a", "1.0"), Pin("b", "2"), Pin("c", "3")]


def test_every_reference_of_the_bill_of_materials_leads_somewhere(project: Path) -> None:
    """Checked against the published schema by hand: docs/decisions/package.md."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"  # licences are those of what is installed here
    deployed = pins((Path(__file__).parents[3] / "requirements.txt").read_text(), python)
    bill = bill_of_materials(Application("sluice", "1", "MIT", "0" * 64, "c" * 40), deployed, python, {})
    references = {"sluice", *(one["bom-ref"] for one in bill["components"])}
    assert len(references) == len(deployed) + 1
    stated = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(stated) == references
    assert {below for several in stated.values() for below in several} == references - {"sluice"}
    assert all(one["licenses"] for one in bill["components"])


def wheel(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_wheel_is_unpacked_as_an_installer_would_but_for_scripts(tmp_path: Path) -> None:
    files = {"b/x.py": "1", "p-1.data/purelib/a.py": "2", "p-1.data/scripts/run": "3", "p-1.dist-info/METADATA": "4"}
    one = wheel(tmp_path / "p.whl", **files)
    two = wheel(tmp_path / "q.whl", **{"b/x.py": "1"})
    below = ".python_packages/lib/site-packages/"
    assert [(name.removeprefix(below), text) for name, text in unpacked([one, two])] == [
        ("a.py", b"2"),
        ("b/x.py", b"1"),
        ("p-1.dist-info/METADATA", b"4"),
    ]


@pytest.mark.parametrize(("files", "said"), [({"b/x.py": "other"}, "both hold b/x.py"), ({"../x": ""}, "outside")])
def test_wheels_that_quarrel_or_break_out_are_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    one, two = wheel(tmp_path / "p.whl", **{"b/x.py": "1"}), wheel(tmp_path / "q.whl", **files)
    with pytest.raises(PackageError, match=said):
        list(unpacked([one, two]))
