"""What is installed is what is in the repository, and nothing else lands in a user's site-packages."""

from __future__ import annotations

import ast
import itertools
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("stream", "models", "rules", "bench")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.nb[ic]", "reports")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, installed into an empty directory."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=NO_SOURCE)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [
            *pip,
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--wheel-dir",
            source / "dist",
            source,
        ],
        check=True,
    )
    (wheel,) = (source / "dist").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", target, wheel], check=True)
    return target


def source_files() -> set[str]:
    """Return every file of the four folders that belongs to the product, relative to the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not {"__pycache__", "reports"} & set(path.parts)
        and path.suffix not in {".pyc", ".md"}
    }


def test_nothing_else_lands_in_site_packages(installed: Path) -> None:
    """One package and its metadata; the console script goes where scripts go."""
    version = PROJECT["project"]["version"]
    assert {path.name for path in installed.iterdir()} == {
        "fraudstream",
        f"fraudstream-{version}.dist-info",
        "bin",
    }
    assert [path.name for path in (installed / "bin").iterdir()] == ["fraudstream"]
    inside = {path.name for path in (installed / "fraudstream").iterdir()}
    assert inside - {"__pycache__"} == set(FOLDERS)


def test_every_source_file_is_installed(installed: Path) -> None:
    """Modules, rules, the lock of Kafka's jars: a forgotten data file breaks users, not developers."""
    found = {
        path.relative_to(installed / "fraudstream").as_posix()
        for path in (installed / "fraudstream").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert found == source_files()
    assert {"rules/schema.yaml", "stream/localkafka/jars.lock.json", "stream/py.typed"} <= found


def test_the_licence_is_in_the_metadata(installed: Path) -> None:
    """Apache-2.0 wants its text to travel along."""
    (text,) = installed.glob("*.dist-info/licenses/LICENSE")
    assert "Apache License" in text.read_text("utf-8")


def test_the_installed_command_runs_without_the_repository(installed: Path, tmp_path: Path) -> None:
    """The installed copy, not the one in the working directory, answers."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from fraudstream.stream import cli\n"
        "assert cli.__file__.startswith(sys.path[0]), cli.__file__\n"
        "sys.exit(cli.main())"
    )
    for arguments in (["--version"], ["topics", "--help"]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(installed), *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "fraudstream" in done.stdout


def test_declared_packages_are_the_folders_on_disk() -> None:
    """A new package that nobody declares would be missing from the wheel."""
    declared = PROJECT["tool"]["setuptools"]["packages"]
    on_disk = {
        f"fraudstream.{path.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(declared) == sorted(on_disk)


def test_every_folder_with_modules_is_a_package() -> None:
    """Python files outside of a package would be left out too."""
    loose = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert loose == set()


def test_import_floors_hold() -> None:
    """`bench` stands on `stream`, `stream` on `models` and `rules`; the core knows no broker."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": "typings", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (
            "requirements.lock",
            [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]],
        ),
        ("requirements-kafka.lock", PROJECT["project"]["optional-dependencies"]["localkafka"]),
    ],
)
def test_locks_satisfy_what_is_declared(lock: str, wanted: list[str]) -> None:
    """Each declared dependency is locked to a version that it allows, with hashes."""
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    pinned = dict(
        line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#"))
    )
    for text in wanted:
        requirement = Requirement(text)
        version = pinned[requirement.name.lower()]
        assert requirement.specifier.contains(version), f"{text}, locked {version}"
    assert sum("--hash=sha256:" in line for line in lines) >= len(pinned)


def test_everything_imported_is_declared() -> None:
    """A library that only developers have would be missing where the wheel is installed."""
    distributions = packages_distributions()
    optional = itertools.chain(*PROJECT["project"]["optional-dependencies"].values())
    declared = {
        canonicalize_name(Requirement(text).name) for text in [*PROJECT["project"]["dependencies"], *optional]
    }
    imported = {
        name.split(".")[0]
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    } - {"fraudstream", *sys.stdlib_module_names}  # fmt: skip
    # Faust's own foundation, Numba's and pygls': they come with them in fitting versions.
    theirs = {"mode", "llvmlite", "lsprotocol"}
    undeclared = {
        name
        for name in imported - theirs
        if not declared & {canonicalize_name(known) for known in (*distributions.get(name, ()), name)}
    }
    assert undeclared == set()


def test_both_locks_agree() -> None:
    """The second lock is installed over the first and must not change it."""
    versions = [
        dict(
            line.split(" ")[0].split("==")
            for line in (ROOT / lock).read_text("utf-8").splitlines()
            if "==" in line and not line.startswith((" ", "#")) and ";" not in line
        )
        for lock in ("requirements.lock", "requirements-kafka.lock")
    ]
    assert {name: versions[1][name] for name in versions[0].keys() & versions[1].keys()} == {
        name: versions[0][name] for name in versions[0].keys() & versions[1].keys()
    }


def test_the_installed_metadata_has_the_optional_parts(installed: Path) -> None:
    """`pip install 'fraudstream[localkafka]'`, which messages recommend, exists."""
    (metadata,) = installed.glob("*.dist-info/METADATA")
    assert "Provides-Extra: localkafka\n" in metadata.read_text("utf-8")
