"""Finds every file that an overlay reads, in the Git tree, before anything is rendered.

kustomize fetches URLs, clones repositories and follows links wherever a field names a path. The
walk resolves each path as kustomize would (file first, then directory), refuses whatever leaves
the repository, and names the exact set of files; only those are exported.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gitopsd.adapters.kustomize.fields import (
    GENERATOR_FIELDS,
    TOP_ONLY_FIELDS,
    FieldError,
    PathUse,
    Role,
    count_generated,
    find_paths,
    is_remote,
)
from gitopsd.adapters.kustomize.locating import find_field_line, find_value_line
from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.adapters.kustomize.scouting import parse_yaml
from gitopsd.adapters.kustomize.trees import (
    DIRECTORY_MODE,
    SUBMODULE_MODE,
    SYMLINK_MODE,
    Entry,
    Tree,
)
from gitopsd.domain.manifests import JsonObject
from gitopsd.ports import Rejection

KUSTOMIZATION_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MAX_FILES = 2_000
MAX_BYTES = 20_000_000
MAX_KUSTOMIZATION_BYTES = 1_000_000
MAX_BASE_DEPTH = 50

Found = tuple[int, str] | None
"""Mode and id of what a path led to; None for nothing."""


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A parsed kustomization file, the same for every commit that holds these bytes.

    Attributes:
        paths: The paths it names.
        generated: How many objects its generators make.
        top_only: Whether it says something that means something else in a base.
        error: Why it is refused; None when it is not.
        text: Its text, for finding lines.
    """

    paths: tuple[PathUse, ...] = ()
    generated: int = 0
    top_only: bool = False
    error: FieldError | RefusedError | None = None
    text: str = ""


ReadKustomization = Callable[[Tree, str, str], Kustomization]
"""Reads and parses a kustomization file by tree, path and blob id; callers cache by blob id."""

SizeOf = Callable[[Tree, str], int]
"""Tells the size of a blob; callers cache by blob id."""


@dataclass(slots=True)
class Walk:
    """What one walk found, and everything it looked at.

    Attributes:
        files: Path -> blob id of every input.
        manifests: Those of the files that kustomize parses; the others are data of generators.
        generated: How many objects the generators make.
        top_only: Whether something is said that means something else in a base.
        roots: Directory with a kustomization -> tree id.
        looked: Path -> what was there.
        rejection: Why the overlay is refused; None when it is not.
    """

    files: dict[str, str] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    generated: int = 0
    top_only: bool = False
    roots: dict[str, str] = field(default_factory=dict)
    looked: dict[str, Found] = field(default_factory=dict)
    rejection: Rejection | None = None

    def witnesses(self) -> dict[str, Found]:
        """Name the fewest lookups whose answers, if equal, make a repeated walk come out equal.

        A directory's tree id stands for everything below it.
        """
        outside = {
            path: found
            for path, found in self.looked.items()
            if not any(root in self.roots for root in _parents(path))
        }
        return outside | {root: (DIRECTORY_MODE, tree) for root, tree in self.roots.items()}


def parse_kustomization(path: str, content: bytes) -> Kustomization:
    """Parse a kustomization file; what is wrong with it is part of the value."""
    text = content.decode(errors="replace")
    try:
        document = parse_only(path, content)
        return Kustomization(
            find_paths(document),
            count_generated(document),
            top_only=not TOP_ONLY_FIELDS.isdisjoint(document),
            text=text,
        )
    except (RefusedError, FieldError) as error:
        return Kustomization(error=error, text=text)


def parse_only(path: str, content: bytes) -> JsonObject:
    """Parse the one document of a file.

    Raises:
        RefusedError: Why it cannot be read.
    """
    documents = parse_yaml(path, content)
    # A closing "---" is common and means nothing; kustomize itself reads the first document.
    while len(documents) > 1 and documents[-1] is None:
        documents.pop()
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, Mapping):
        sentence = "it must be one YAML document with fields"
        raise RefusedError("BadKustomization", Place(path), sentence)
    return document


@dataclass(frozen=True, slots=True)
class Mention:
    """Where an input is named; its line is only looked for when somebody is told.

    Attributes:
        path: Kustomization file, or the overlay itself.
        text: Its text.
        use: The value that names the input; None for the overlay itself.
    """

    path: str
    text: str = ""
    use: PathUse | None = None

    def refuse(self, reason: str, sentence: str) -> RefusedError:
        """Make the refusal that names this place."""
        if self.use is None:
            return RefusedError(reason, Place(self.path), sentence)
        use = self.use
        line = find_value_line(self.text, use.field, use.value, use.occurrence)
        return RefusedError(reason, Place(self.path, line), f"{use.path}: {sentence}")


class Walker:
    """Walks one overlay of one commit.

    Args:
        tree: The commit's tree.
        read: Reads kustomization files.
        size_of: Tells the size of blobs.
    """

    def __init__(self, tree: Tree, read: ReadKustomization, size_of: SizeOf) -> None:
        self._tree = tree
        self._read = read
        self._size_of = size_of
        self._walk = Walk()
        self._bytes = 0

    def run(self, overlay: str) -> Walk:
        """Find the inputs of an overlay."""
        start = _join("", overlay.strip("/"))
        mention = Mention(overlay)
        try:
            if start is None:
                raise mention.refuse("OutsideRepository", "the overlay is outside the repository")
            self._enter(start, mention, ())
        except RefusedError as refused:
            self._walk.rejection = refused.rejection
        return self._walk

    def _enter(self, directory: str, mention: Mention, chain: tuple[str, ...]) -> None:
        """Walk a directory with a kustomization, once."""
        if any(visited == directory or directory in _parents(visited) for visited in chain):
            sentence = "it is being built here already; a base cannot contain what uses it"
            raise mention.refuse("BaseCycle", sentence)
        if len(chain) >= MAX_BASE_DEPTH:
            raise mention.refuse("BaseCycle", f"bases are nested deeper than {MAX_BASE_DEPTH}")
        if directory in self._walk.roots:
            return
        entry = self._look(directory)
        if entry is None or entry.mode != DIRECTORY_MODE:
            raise self._explain(directory, mention, "there is no such directory")
        self._walk.roots[directory] = entry.id
        path, blob = self._find_kustomization(directory, mention)
        self._add(path, blob, mention)
        kustomization = self._load(path, blob)
        self._walk.generated += kustomization.generated
        self._walk.top_only |= kustomization.top_only
        for use in kustomization.paths:
            named = Mention(path, kustomization.text, use)
            self._follow(directory, named, use, (*chain, directory))

    def _find_kustomization(self, directory: str, mention: Mention) -> tuple[str, str]:
        found: list[tuple[str, Entry]] = []
        for name in KUSTOMIZATION_NAMES:
            path = posixpath.join(directory, name)
            entry = self._look(path)
            if entry is not None and entry.mode != DIRECTORY_MODE:
                found.append((path, entry))
        if not found:
            names = ", ".join(KUSTOMIZATION_NAMES)
            sentence = f"{directory or 'the repository'} has none of {names}"
            raise mention.refuse("NoKustomization", sentence)
        path, entry = found[0]
        if len(found) > 1:
            sentence = f"{found[1][0]} is there too; a directory has one kustomization"
            raise RefusedError("TwoKustomizations", Place(path), sentence)
        self._check_mode(path, entry, Mention(path))
        return path, entry.id

    def _load(self, path: str, blob: str) -> Kustomization:
        if self._size_of(self._tree, blob) > MAX_KUSTOMIZATION_BYTES:
            sentence = f"a kustomization may have {MAX_KUSTOMIZATION_BYTES:,} bytes at most"
            raise RefusedError("KustomizationTooLarge", Place(path), sentence)
        kustomization = self._read(self._tree, path, blob)
        error = kustomization.error
        if isinstance(error, RefusedError):
            raise RefusedError(error.reason, Place(path, error.place.line), error.sentence)
        if error is not None:
            line = (
                find_value_line(kustomization.text, error.field, error.value)
                if error.value
                else find_field_line(kustomization.text, error.field, error.name)
            )
            raise RefusedError(error.reason, Place(path, line), error.sentence)
        return kustomization

    def _follow(
        self, directory: str, mention: Mention, use: PathUse, chain: tuple[str, ...]
    ) -> None:
        """Resolve one path as kustomize would."""
        if use.role is Role.PATCH and "\n" in use.value:
            return
        if is_remote(use.value) or is_remote(use.path):
            sentence = "it is remote; commit what it holds to this repository and name that"
            raise mention.refuse("RemoteBase", sentence)
        if use.path.startswith("/"):
            raise mention.refuse("AbsolutePath", "it is absolute; name it from this directory")
        path = _join(directory, use.path)
        if path is None:
            raise mention.refuse("OutsideRepository", "it is outside the repository")
        entry = self._look(path)
        if entry is None:
            if use.role is not Role.PATCH or ":" not in use.value:
                raise self._explain(path, mention, "there is no such file or directory")
            # else it is a patch on one line, such as {kind: Service, ...}
        elif entry.mode == DIRECTORY_MODE:
            if use.role not in (Role.RESOURCE, Role.COMPONENT):
                raise mention.refuse("NotAFile", "it is a directory; name a file")
            self._enter(path, mention, chain)
        else:
            self._take(directory, path, entry, mention, use)

    def _take(
        self, directory: str, path: str, entry: Entry, mention: Mention, use: PathUse
    ) -> None:
        """Add a file that kustomize's load restrictor lets this directory read."""
        self._check_mode(path, entry, mention)
        if use.role is Role.COMPONENT:
            raise mention.refuse("NotADirectory", "a component is a directory")
        if directory not in _parents(path):
            sentence = "it is outside this directory; make a base of it and name its directory"
            raise mention.refuse("OutsideRoot", sentence)
        if use.field not in GENERATOR_FIELDS:
            self._walk.manifests.add(path)
        self._add(path, entry.id, mention)

    def _add(self, path: str, blob: str, mention: Mention) -> None:
        files = self._walk.files
        if path in files:
            return
        files[path] = blob
        self._bytes += self._size_of(self._tree, blob)
        if len(files) > MAX_FILES:
            raise mention.refuse(
                "TooManyInputs", f"the overlay reads more than {MAX_FILES:,} files"
            )
        if self._bytes > MAX_BYTES:
            sentence = f"the overlay reads more than {MAX_BYTES // 1_000_000} MB"
            raise mention.refuse("InputsTooLarge", sentence)

    def _look(self, path: str) -> Entry | None:
        entry = self._tree.find(path)
        self._walk.looked[path] = None if entry is None else (entry.mode, entry.id)
        return entry

    def _explain(self, path: str, mention: Mention, sentence: str) -> RefusedError:
        """Say why nothing was found: perhaps the path leads through a link."""
        for part in reversed((path, *_parents(path))):
            entry = self._look(part)
            if entry is not None and entry.mode != DIRECTORY_MODE:
                self._check_mode(part, entry, mention)
        return mention.refuse("MissingInput", sentence)

    @staticmethod
    def _check_mode(path: str, entry: Entry, mention: Mention) -> None:
        if entry.mode == SYMLINK_MODE:
            sentence = f"{path} is a symbolic link; commit the file itself"
            raise mention.refuse("Symlink", sentence)
        if entry.mode == SUBMODULE_MODE:
            sentence = f"{path} is a submodule; commit its files to this repository"
            raise mention.refuse("Submodule", sentence)


def _join(directory: str, path: str) -> str | None:
    """Join and normalise; None when the result lies outside the repository."""
    joined = posixpath.normpath(posixpath.join(directory, path))
    if joined == ".." or joined.startswith(("../", "/")):
        return None
    return "" if joined == "." else joined


def _parents(path: str) -> Iterator[str]:
    """List the directories above a path, the nearest first, the repository's root last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
