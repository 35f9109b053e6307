"""The documents are true: what they link, name and promise is there, in the words agreed on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitopsd.adapters.config_files.live import ConfigurationFiles
from gitopsd.adapters.telemetry.metrics import SHAPES
from gitopsd.domain.runs import Phase, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.settings import CLIENT_NAMES, names
from tests.support.configuration import write_files
from tests.support.documents import (
    list_anchors,
    list_code,
    list_code_words,
    list_commands,
    list_documents,
    list_links,
    list_table_rows,
    parse_command,
    read_configuration_blocks,
    read_document,
)
from tests.support.projects import REPOSITORY

_ARCHITECTURE, _GLOSSARY = "docs/architecture.md", "docs/glossary.md"
_OPERATIONS, _SETTINGS = "docs/operations.md", "docs/settings.md"
_SECRETS = "/etc/gitopsd/secrets/"
_OUR_PATH = re.compile(r"(?:gitopsd|tests|tools|docs|manifests|benchmarks)/[\w./*-]*")
_TARGET = re.compile(r"\bmake ([a-z][a-z-]+)\b")

# Second words for what the glossary has a word for. Where a word also means something else, only
# its wrong sense is listed.
_WRONG_WORDS = re.compile(
    r"\b(?:freight|canary|blue[-/ ]green|artifacts?|artefacts?|changesets?|white-?list|black-?list"
    r"|(?:staging|production|target) environments?|deploy targets?|deployment targets?"
    r"|target cluster|dead[- ]letter queue|release candidates?|desired state"
    r"|reconciliation loop|git sha)\b",
    re.IGNORECASE,
)
_KUSTOMIZE_ITSELF = ("gitopsd/adapters/kustomize/", "gitopsd/kube/names.py")


@pytest.mark.parametrize("name", list_documents())
def test_every_relative_link_leads_somewhere(name: str) -> None:
    """A link to a file of the repository, and to a heading in it, finds both."""
    broken = []
    document = REPOSITORY / name
    for link in list_links(read_document(name)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if "://" in link:
            continue
        missing = not target.exists()
        if missing or (anchor and anchor not in list_anchors(target.read_text("utf-8"))):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("name", list_documents())
def test_every_path_that_is_named_exists(name: str) -> None:
    """A path of the repository in inline code is there; recipes name files still to be made."""
    text, _, _ = read_document(name).partition("\n## Recipes\n")
    paths = [code for code in list_code(text) if _OUR_PATH.fullmatch(code)]

    assert [path for path in paths if not any(REPOSITORY.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("name", list_documents())
def test_every_make_target_that_is_named_exists(name: str) -> None:
    """What a document tells people to make is a target of the Makefile."""
    text = read_document(name)
    code = [*list_code(text), *re.findall(r"^ {4}(make .*)$", text, re.MULTILINE)]
    named = {target for piece in code for target in _TARGET.findall(piece)}
    makefile = read_document("Makefile")

    assert {target for target in named if f"\n{target}:" not in makefile} == set()


@pytest.mark.parametrize("name", list_documents())
def test_every_command_that_is_named_can_be_typed(name: str) -> None:
    """The command line takes each command of the documents, with its options and arguments."""
    refused = []
    for command in list_commands(read_document(name), "gitopsd"):
        try:
            parse_command(command)
        except Exception as error:  # noqa: BLE001 - the parser's own classes are private to typer
            refused.append(f"{command}: {error}")

    assert refused == []


def test_the_layout_table_is_the_layout() -> None:
    """Each package and module directly below gitopsd/ has a row, and each row exists."""
    rows = list_table_rows(read_document(_ARCHITECTURE), "## Layers and packages")
    named = {path for row in rows for path in re.findall(r"`(gitopsd/[^`]+)`", row[0])}
    there = {
        f"gitopsd/{path.name}"
        for path in (REPOSITORY / "gitopsd").iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
    }

    assert named == there


def test_the_steps_table_is_complete() -> None:
    """Every step is explained, in order."""
    rows = list_table_rows(read_document(_ARCHITECTURE), "## The steps")

    assert [row[0] for row in rows] == [step.value for step in Step]


def test_every_decision_record_is_listed() -> None:
    """The list of decision records names each file, and each has its three parts."""
    folder = REPOSITORY / "docs" / "adr"
    listed = read_document("docs/adr/README.md")
    records = sorted(folder.glob("0*.md"))

    assert [path.name for path in records if path.name not in listed] == []
    for path in records:
        text = path.read_text("utf-8")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))


def test_the_glossary_has_the_enumerated_words() -> None:
    """Steps, phases and reasons of a stall are spelt in the glossary as in the code."""
    glossary = read_document(_GLOSSARY)
    words = [one.value for one in (*Step, *Phase, *StallReason)]

    assert [word for word in words if word not in glossary] == []


def test_the_code_uses_no_second_words() -> None:
    """Docstrings and help use the glossary's words."""
    found = [
        f"{place}: {match[0]}"
        for place, text in list_code_words()
        for match in _WRONG_WORDS.finditer(text)
    ]

    assert found == []


def test_a_kustomization_is_a_file_of_kustomize() -> None:
    """Nothing of gitopsd's own is called a kustomization."""
    found = [
        place
        for place, text in list_code_words()
        if "kustomization" in text.lower() and not place.startswith(_KUSTOMIZE_ITSELF)
    ]

    assert found == []


def test_every_setting_is_documented() -> None:
    """The table of settings is the settings, one row each."""
    rows = re.findall(r"^\| `(GITOPSD_\w+)` \|", read_document(_SETTINGS), re.MULTILINE)

    assert sorted(rows) == sorted((*names(), *CLIENT_NAMES))


def test_every_metric_is_documented() -> None:
    """Each metric has its row with its labels."""
    rows = {row[0].strip("`"): row[1] for row in _metric_rows()}

    assert {name: ", ".join(shape.labels) for name, shape in SHAPES.items()} == {
        name: labels for name, labels in rows.items() if name != "gitopsd_app_info"
    }


def _metric_rows() -> list[list[str]]:
    return list_table_rows(read_document(_OPERATIONS), "## Metrics")


def test_every_stall_has_its_advice() -> None:
    """Each reason to call a person has a row that says what to do."""
    rows = list_table_rows(read_document(_OPERATIONS), "## Being told")
    named = {row[0].strip("`") for row in rows}

    assert named == {reason.value for reason in StallReason}


@pytest.mark.parametrize("document", ["README.md", _OPERATIONS])
def test_documented_configuration_is_valid(document: str, tmp_path: Path) -> None:
    """The configuration files of the documents, written as they stand, have no error."""
    secrets = tmp_path / "secrets"
    blocks = read_configuration_blocks(read_document(document))
    files = {name: text.replace(_SECRETS, f"{secrets}/") for name, text in blocks.items()}
    named = {name for text in files.values() for name in re.findall(rf"{secrets}/([\w-]+)", text)}
    write_files(secrets, dict.fromkeys(named, "made for this test, and long enough\n"))
    (secrets / "cluster-ca.pem").write_text("made for this test\n")
    write_files(tmp_path / "config", files)

    assert blocks
    assert ConfigurationFiles(tmp_path / "config").load().errors == ()
