"""One file's bytes into one document, and one document into one frozen value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from pydantic import ValidationError
from ryaml import loads_all  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.adapters.config_files.application_model import Application
from gitopsd.adapters.config_files.channel_model import Channel
from gitopsd.adapters.config_files.fields import Section
from gitopsd.adapters.config_files.other_models import (
    Cluster,
    PeopleFile,
    Project,
    Receiver,
    Repository,
)
from gitopsd.adapters.config_files.problems import list_problems, suggest
from gitopsd.adapters.config_files.registry_model import Registry
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, ProjectSpec
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.people import People
from gitopsd.domain.sources import (
    ReceiverSpec,
    RepositorySpec,
)
from gitopsd.errors import ConfigError

MAX_FILE_BYTES = 1_048_576
"""Longest file that is read; a hand-written one is a thousandth of it."""

Value: TypeAlias = (
    ApplicationSpec
    | ClusterSpec
    | RepositorySpec
    | ReceiverSpec
    | RegistrySpec
    | ChannelSpec
    | ProjectSpec
    | People
)
"""What a file can say."""

MODELS: dict[str, type[Section]] = {
    "Application": Application,
    "Channel": Channel,
    "Cluster": Cluster,
    "People": PeopleFile,
    "Project": Project,
    "Receiver": Receiver,
    "Registry": Registry,
    "Repository": Repository,
}
"""Kind -> its model."""

FOLDERS = {
    "applications": "Application",
    "channels": "Channel",
    "clusters": "Cluster",
    "projects": "Project",
    "receivers": "Receiver",
    "registries": "Registry",
    "repositories": "Repository",
}
"""Folder -> the one kind whose files lie in it."""

PEOPLE_FILE = "people.yaml"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one file says.

    Attributes:
        file: Path relative to the configuration folder.
        kind: Its kind.
        name: Name of the object; the same for all files of people.
        value: The frozen value.
    """

    file: str
    kind: str
    name: str
    value: Value

    @property
    def identity(self) -> tuple[str, str]:
        """What two files may not share."""
        return (self.kind, self.name)


def parse_file(file: str, kind: str, content: bytes) -> Parsed | list[ConfigError]:
    """Read one file of a kind.

    Args:
        file: Path relative to the configuration folder.
        kind: Kind that its folder holds.
        content: Its bytes.

    Returns:
        What it says, or everything that is wrong with it.
    """
    try:
        document = _parse_document(file, content)
        _check_head(file, kind, document)
    except ConfigError as error:
        return [error]
    model = MODELS[kind]
    try:
        parsed = model.model_validate(document)
    except ValidationError as error:
        return list_problems(error, model, file)
    return Parsed(file, kind, *_convert(parsed, file, document))


def _parse_document(file: str, content: bytes) -> dict[str, object]:
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(
            file=file,
            path="",
            problem=f"the file is longer than {MAX_FILE_BYTES} bytes",
            remedy="Write one object into each file",
        )
    try:
        documents = loads_all(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            file=file,
            path="",
            problem=f"byte {error.start} is no UTF-8",
            remedy="Save the file as UTF-8",
        ) from error
    except ValueError as error:  # InvalidYamlError, and keys that cannot be keys
        raise ConfigError(
            file=file,
            path="",
            problem=f"this is no YAML: {str(error)[:300]}",
            remedy="Mend it there",
        ) from error
    if not documents or len(documents) != 1 or not isinstance(documents[0], dict):
        raise ConfigError(
            file=file,
            path="",
            problem=f"the file holds {_count(documents)}, expected one object",
            remedy="Write apiVersion, kind, metadata and spec of one object into each file",
        )
    document: dict[str, object] = documents[0]
    return document


def _count(documents: list[object] | None) -> str:
    if not documents or documents == [None]:
        return "nothing"
    return f"{len(documents)} documents" if len(documents) > 1 else "no mapping"


def _check_head(file: str, kind: str, document: dict[str, object]) -> None:
    """Say a wrong kind once, instead of everything that another kind lacks."""
    given = document.get("kind")
    if given == kind:
        return
    if given is None:
        problem, remedy = "it is missing", f"Write `kind: {kind}`"
    elif isinstance(given, str) and given in MODELS:
        place = next((name for name, held in FOLDERS.items() if held == given), PEOPLE_FILE)
        problem = f"{given} does not belong here, expected {kind}"
        remedy = f"Move the file to {place}" + ("" if place == PEOPLE_FILE else "/")
    else:
        problem = f"unknown kind {str(given)[:60]!r}, expected {kind}"
        remedy = suggest(str(given), [kind])
    raise ConfigError(file=file, path="kind", problem=problem, remedy=remedy)


def _convert(parsed: Section, file: str, document: dict[str, object]) -> tuple[str, Value]:
    match parsed:
        case Application():
            canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
            digest = "sha256:" + hashlib.sha256(canonical).hexdigest()
            return parsed.metadata.name, parsed.to_domain(file=file, digest=digest)
        case Cluster() | Repository() | Receiver() | Registry() | Channel() | Project():
            return parsed.metadata.name, parsed.to_domain()
        case PeopleFile():
            return "people", parsed.to_domain()
        case _:
            raise TypeError(type(parsed).__name__)
