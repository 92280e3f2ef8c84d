"""Every code block of the README and of docs/ is run: Python as it stands, shell lines as far as they can be without their data."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from wwae.cli import main
from wwae.training import TrainingConfiguration
from wwae.training.configuration import read_toml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    language: str
    line: int
    text: str


def blocks(text: str) -> list[Block]:
    """The fenced code blocks of a document, each with the line its code starts at."""
    found = re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [Block(match[1], text.count("\n", 0, match.start()) + 2, match[2]) for match in found]


def blocks_in(language: str) -> list:
    return [
        pytest.param(document, block, id=f"{document.name}:{block.line}")
        for document in DOCUMENTS
        for block in blocks(document.read_text(encoding="utf-8"))
        if block.language == language
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_block_has_a_language_that_is_tested(document):
    assert {block.language for block in blocks(document.read_text(encoding="utf-8"))} <= {"python", "sh", "toml", "text"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_python_blocks_run(document, tmp_path, monkeypatch):
    """The blocks of one document run one after another, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.language == "python":
            # Blank lines in front give an error the line of the document.
            exec(compile("\n" * (block.line - 1) + block.text, str(document), "exec"), names)


def check_command(words: list[str]) -> None:
    """Run a command with `--help`, or look up what it names."""
    program, *arguments = words
    if program == "wwae":
        assert main([*arguments, "--help"]) == 0
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {argument for argument in arguments if "=" not in argument} <= set(targets)
    elif program in ("pip", "cd", "git"):
        extras = re.findall(r"\.\[([\w,]+)\]", " ".join(arguments))
        project = read_toml(ROOT / "pyproject.toml")["project"]
        assert {extra for group in extras for extra in group.split(",")} <= set(project["optional-dependencies"])
    else:
        paths = [word for word in arguments if word.endswith(".py")]
        assert program in ("python", "pytest"), f"{program} is not checked by this test"
        assert all((ROOT / path).is_file() for path in paths)


@pytest.mark.parametrize(("document", "block"), blocks_in("sh"))
def test_shell_lines_name_what_exists(document, block, capsys):
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            check_command(words)


@pytest.mark.parametrize("line", ["wwae trian", "wwae train --labls 100", "wwae train minst", "make dmeo", "frobnicate"])
def test_a_wrong_shell_line_is_seen(line, capsys):
    with pytest.raises(AssertionError):
        check_command(shlex.split(line))


@pytest.mark.parametrize(("document", "block"), blocks_in("toml"))
def test_settings_are_settings(document, block, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(block.text)
    TrainingConfiguration.from_toml(file)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda document: document.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_environment_variable_is_in_the_table():
    sources = [*(ROOT / "wwae").rglob("*.py"), ROOT / "setup.py"]
    read = {name for path in sources for name in re.findall(r"environ\S*[\[(]\s*\"(WWAE_\w+)\"", path.read_text())}
    table = set(re.findall(r"^\| `(WWAE_\w+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert read == table
