"""What holds for the whole repository: complete sets of files, their sizes, and nothing in them that belongs elsewhere."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import wwae
from wwae.ops._compositions import COMPOSITIONS
from wwae.ops._library import OPERATIONS
from wwae.ops.backends import _KERNELS_OF

ROOT = Path(__file__).resolve().parents[1]

SOURCE_SUFFIXES = {".py", ".cpp", ".h", ".cu", ".cuh"}
LONGEST_SOURCE = 350  # lines; a file that grows past about 300 holds two things
LONGEST_TEST = 600  # lines; the cases of one thing may be many
LARGEST_FILE = 500_000  # bytes
LARGEST_RESULTS = 1_000_000  # bytes: one measurement a line

FILES_OF_AN_OPERATION = (
    "wwae/reference/{}.py",
    "wwae/ops/{}.py",
    "csrc/cpu/{}.cpp",
    "csrc/cuda/{}.cuh",
    "csrc/cuda/{}.cu",
    "triton_kernels/{}.py",
    "tests/ops/test_{}.py",
    "tests/emulation/kernels/{}.py",
)

# What one machine or one network has and another has not.
FOREIGN = re.compile(
    r"(?<![\w.])/(?:work|home|root|Users|mnt|farm)/\w"  # somebody's folders
    r"|index[-_]url|PIP_INDEX|PIP_FIND_LINKS|trusted-host"  # a package index of somebody's network
)


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("the files that belong to the project are known in a git checkout only, and this is none")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def files(operation: str) -> list[str]:
    """Of the project, that an operation has: on a CPU convolutions are the library's, and some run on the kernels of others."""
    forms = [form for form in FILES_OF_AN_OPERATION if operation not in COMPOSITIONS or "csrc/cpu" not in form]
    if operation in _KERNELS_OF:
        forms = [form for form in forms if form.startswith(("wwae/", "tests/ops/"))]
    return [form.format(operation) for form in forms]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_all_its_files(operation):
    missing = [name for name in files(operation) if not (ROOT / name).is_file()]
    assert missing == []


@pytest.mark.parametrize("function", sorted(set(wwae.ops.__all__) - {"Switches"}))
def test_every_public_operation_is_measured_and_documented(function):
    assert (ROOT / f"benchmarks/bench_{function}.py").is_file()
    assert f"`{function}`" in (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize(
    "folder",
    ["wwae/reference", "csrc/cpu", "csrc/cuda", "triton_kernels", "benchmarks", "tests/emulation/kernels"],
    ids=lambda folder: folder,
)
def test_no_operation_is_left_behind(folder):
    stems = {path.stem.removeprefix("bench_") for path in (ROOT / folder).iterdir() if re.search(r"(pool|gather)2d\.", path.name)}
    assert stems <= set(OPERATIONS)


def test_source_files_hold_one_thing():
    for path in tracked_files():
        if path.suffix in SOURCE_SUFFIXES:
            lines = path.read_text().count("\n")
            limit = LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST_SOURCE
            assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines"


def test_files_are_small():
    for path in tracked_files():
        limit = LARGEST_RESULTS if path.parent == ROOT / "benchmarks/results" else LARGEST_FILE
        assert path.stat().st_size <= limit, f"{path.relative_to(ROOT)} has {path.stat().st_size} bytes"


def test_nothing_belongs_to_one_machine():
    for path in tracked_files():
        if path != Path(__file__).resolve() and path.suffix != ".png":
            found = FOREIGN.search(path.read_text())
            assert found is None, f"{path.relative_to(ROOT)} holds {found.group()!r}"


@pytest.mark.parametrize("text", ["/home/ann/wwae", "--index-url https://pypi.example.org", "cd /work/tree"])
def test_what_belongs_to_one_machine_is_seen(text):
    assert FOREIGN.search(text)


@pytest.mark.parametrize("text", ["data/mnist/raw", "https://arxiv.org/abs/1506.02351", "tests/root/a", "the indices_url"])
def test_what_belongs_to_all_passes(text):
    assert not FOREIGN.search(text)


def test_nothing_is_put_off():
    word = re.compile(r"\b(TODO|FIXME|XXX)\b")
    for path in tracked_files():
        if path != Path(__file__).resolve() and path.suffix in SOURCE_SUFFIXES | {".md"}:
            assert not word.search(path.read_text()), f"{path.relative_to(ROOT)} puts something off"


def marks_without_reason(source: str) -> list[int]:
    """Lines of skips and expected failures that don't say why."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        words = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if words in ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.skip", "pytest.xfail"):
            lines.append(node.lineno)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in ("reason", "msg"))]
            text = [value for value in given if isinstance(value, (ast.JoinedStr, ast.Constant, ast.Name, ast.BinOp))]
            if text and ast.unparse(node.func).startswith("pytest.") and node.func.lineno in lines:
                lines.remove(node.func.lineno)
    return lines


def test_every_skip_says_why():
    for path in python_files():
        assert not marks_without_reason(path.read_text()), path.relative_to(ROOT)


def test_a_skip_without_reason_is_seen():
    assert marks_without_reason("@pytest.mark.skip\ndef test_a(): ...") == [1]
    assert marks_without_reason("@pytest.mark.skipif(slow())\ndef test_a(): ...") == [1]
    assert not marks_without_reason("@pytest.mark.skip(reason='no GPU')\ndef test_a(): ...")


SETTING = re.compile(r"torch\.(set_|use_|backends)|os\.environ\[[^]]*\] *=|environ\.(setdefault|update|pop)|random\.seed")


def settings_at_import(source: str) -> list[str]:
    """Settings of PyTorch or of the environment that a module changes for whoever imports it."""
    statements = [node for node in ast.parse(source).body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [found.group() for node in statements if (found := SETTING.search(ast.unparse(node)))]


def test_conftests_change_no_setting_at_import():
    for path in python_files():
        if path.name == "conftest.py":
            assert not settings_at_import(path.read_text()), path.relative_to(ROOT)


def test_a_setting_at_import_is_seen():
    assert settings_at_import("import os\nos.environ['A'] = '1'")
    assert settings_at_import("torch.set_num_threads(1)")
    assert not settings_at_import("def fixture():\n    torch.set_num_threads(1)")


def test_the_makefile_installs_what_the_build_needs():
    built_with = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
    installed = re.search(r"^BUILD_REQUIREMENTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    assert re.findall(r'"([^"]+)"', installed) == re.findall(r'"([^"]+)"', built_with)
