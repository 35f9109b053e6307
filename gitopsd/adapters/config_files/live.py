"""The configuration as it stands now: last valid values, hot reload, protection from accidents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from gitopsd.adapters.config_files.cross_checks import find_secret_problems, name_secret_files
from gitopsd.adapters.config_files.documents import Parsed, parse_file
from gitopsd.adapters.config_files.folder import (
    FolderContent,
    Signature,
    load_content,
    load_signature,
)
from gitopsd.adapters.config_files.gate_files import resolve_gate_files
from gitopsd.adapters.config_files.merging import (
    build_configuration,
    is_mass_removal,
    merge,
    select_vanished,
)
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.config import ApplicationSpec, ClusterSpec, Configuration, HeldRemoval
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.metrics import MetricsServer
from gitopsd.domain.sources import (
    ReceiverSpec,
    RepositorySpec,
)
from gitopsd.errors import ConfigError
from gitopsd.ports import Clock

POLL_INTERVAL = timedelta(milliseconds=400)
"""How often the folder is looked at; a change counts after at most four looks."""

_RESTLESS_LOOKS = 3
_NAMED_FILES = 5


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the folder says.

    Attributes:
        configuration: Everything that is valid, or was when it last changed.
        errors: What is wrong, in the order of the files.
        held: Files that vanished in a way that looks like an accident; what they said still counts
            until they are back or the removal is confirmed.
    """

    configuration: Configuration
    errors: tuple[ConfigError, ...] = ()
    held: tuple[str, ...] = ()

    def same_as(self, other: LoadResult | None) -> bool:
        """Tell whether two results say the same, errors by their sentences."""
        return (
            other is not None
            and self.configuration == other.configuration
            and self.held == other.held
            and [str(error) for error in self.errors] == [str(error) for error in other.errors]
        )


def load_configuration(directory: Path, *, check_secrets: bool = True) -> LoadResult:
    """Read a configuration folder once.

    Args:
        directory: The folder.
        check_secrets: Whether the files that are named for secrets must be readable; False where
            only the configuration is at hand, as in a repository's own checks.
    """
    return ConfigurationFiles(directory, check_secrets=check_secrets).load()


class ConfigurationFiles:
    """A configuration folder that is watched.

    Args:
        directory: The folder.
        known: Applications as they were last valid, from the store: after a restart they protect
            against an invalid file and an empty folder as they did before it.
        check_secrets: Whether the files that are named for secrets must be readable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        known: Iterable[ApplicationSpec] = (),
        check_secrets: bool = True,
    ) -> None:
        self._directory = directory
        self._check_secrets = check_secrets
        self._accepted = {
            spec.file: Parsed(spec.file, "Application", spec.name, spec) for spec in known
        }
        self._named: frozenset[str] = frozenset()
        self._held: frozenset[str] = frozenset()
        self._confirmed: frozenset[str] = frozenset()
        self._signature: Signature | None = None
        self._result: LoadResult | None = None

    @property
    def current(self) -> LoadResult:
        """The last result; reads the folder if that did not happen yet."""
        return self._result or self.load()

    @property
    def held(self) -> tuple[HeldRemoval, ...]:
        """Files that are held, with what goes when their removal is confirmed."""
        files = sorted(self._held & self._accepted.keys())
        return tuple(_describe_removal(self._accepted[file]) for file in files)

    def confirm_removals(self, files: Iterable[str] | None = None) -> tuple[str, ...]:
        """Believe that held files are meant to be gone; counts at the next look.

        Args:
            files: Those of them that are meant; None for all. Others are left alone.

        Returns:
            The files.
        """
        believed = self._held if files is None else self._held & frozenset(files)
        if believed - self._confirmed:
            self._confirmed |= believed
            self._signature = None
        return tuple(sorted(believed))

    def load(self) -> LoadResult:
        """Read the folder now. Safe to repeat: reads, and remembers what is valid."""
        self._signature = self._sign()
        content = load_content(self._directory)
        parsed, broken = self._parse(content)
        kept = self._select_kept(content, parsed, broken)
        merged = merge(parsed, broken, self._accepted, kept)
        self._accepted = dict(merged.accepted)
        self._result = LoadResult(
            configuration=build_configuration(merged.accepted.values()),
            errors=(*content.problems, *self._explain(content), *merged.errors),
            held=tuple(sorted(self._held)),
        )
        return self._result

    async def watch(
        self, clock: Clock, *, confirmed: Callable[[], Awaitable[Iterable[str]]] | None = None
    ) -> AsyncGenerator[LoadResult]:
        """Follow the folder; yields each result that says something else than the one before.

        A change counts once two looks in a row saw the same, so that a half-written file is not
        read; a folder that never rests is read all the same after a second.

        Args:
            clock: Paces the looks.
            confirmed: Tells the files whose removal was confirmed; asked while any are held.
        """
        seen: Signature | None = None
        restless = 0
        while True:
            before = self._result
            if confirmed is not None and self._held:
                self.confirm_removals(await confirmed())
            signature = await asyncio.to_thread(self._sign)
            restless = restless + 1 if signature != self._signature else 0
            if restless and (signature == seen or restless > _RESTLESS_LOOKS or before is None):
                restless = 0
                result = await asyncio.to_thread(self.load)
                if not result.same_as(before):
                    yield result
            seen = signature
            await clock.sleep(POLL_INTERVAL)

    def _sign(self) -> Signature:
        return load_signature(self._directory, self._named if self._check_secrets else ())

    def _parse(self, content: FolderContent) -> tuple[list[Parsed], dict[str, list[ConfigError]]]:
        parsed: list[Parsed] = []
        named: set[str] = set()
        broken = {
            file: [_explain_unreadable(file, why)] for file, why in content.unreadable.items()
        }
        for file, (kind, body) in content.files.items():
            answer = parse_file(file, kind, body)
            if isinstance(answer, Parsed):
                answer = _resolve_files(answer, self._directory)
                named |= {name for _, name in name_secret_files(answer)}
                problems = find_secret_problems(answer, load_secret) if self._check_secrets else []
                if not problems:
                    parsed.append(answer)
                    continue
                answer = problems
            broken[file] = answer
        self._named = frozenset(named)
        return parsed, broken

    def _select_kept(
        self,
        content: FolderContent,
        parsed: list[Parsed],
        broken: Mapping[str, list[ConfigError]],
    ) -> frozenset[str]:
        """Choose which missing files still count, and remember those that are held."""
        present = {one.file for one in parsed} | broken.keys()
        vanished = select_vanished(self._accepted, present, parsed)
        unseen = {file for file in vanished if _lies_in(file, content.unreadable_folders)}
        gone = vanished - unseen - self._confirmed
        self._held &= gone
        fresh = gone - self._held
        if is_mass_removal(self._accepted, fresh, empty=not present):
            self._held |= fresh
        self._confirmed &= vanished
        return self._held | unseen

    def _explain(self, content: FolderContent) -> list[ConfigError]:
        errors = [
            ConfigError(
                file=str(self._directory / folder),
                path="",
                problem=f"the folder cannot be read: {why}",
                remedy="What it said before still counts. Let gitopsd read it"
                if folder or self._accepted
                else "Make it, or set GITOPSD_CONFIG_DIR to the folder that you mean",
            )
            for folder, why in sorted(content.unreadable_folders.items())
        ]
        if self._held:
            named = ", ".join(sorted(self._held)[:_NAMED_FILES])
            more = ", ..." if len(self._held) > _NAMED_FILES else ""
            errors.append(
                ConfigError(
                    file=str(self._directory),
                    path="",
                    problem=f"{len(self._held)} of {len(self._accepted)} files vanished at once"
                    f" ({named}{more})",
                    remedy="What they said still counts. Put them back, or confirm their removal:"
                    " gitopsd confirm-removals",
                )
            )
        return errors


def _describe_removal(one: Parsed) -> HeldRemoval:
    stages = one.value.stages if isinstance(one.value, ApplicationSpec) else ()
    return HeldRemoval(one.file, one.kind, one.name, tuple(stage.name for stage in stages))


def _lies_in(file: str, folders: Iterable[str]) -> bool:
    return any(not folder or file.startswith(f"{folder}/") for folder in folders)


def _explain_unreadable(file: str, why: str) -> ConfigError:
    return ConfigError(
        file=file, path="", problem=f"the file cannot be read: {why}", remedy="Let gitopsd read it"
    )


def _resolve_files(one: Parsed, directory: Path) -> Parsed:
    """Let relative file names begin at the configuration folder."""

    def resolve(name: str) -> str:
        return str(directory / name) if name else ""

    value = one.value
    match value:
        case ApplicationSpec():
            value = resolve_gate_files(value, resolve)
        case ReceiverSpec():
            value = replace(value, secret_files=tuple(resolve(name) for name in value.secret_files))
        case ChannelSpec():
            value = replace(
                value,
                secret_file=resolve(value.secret_file),
                token_file=resolve(value.token_file),
                key_file=resolve(value.key_file),
            )
        case ClusterSpec():
            value = replace(
                value,
                kubeconfig=resolve(value.kubeconfig),
                token_file=resolve(value.token_file),
                ca_file=resolve(value.ca_file),
                metrics=_resolve_metrics(value.metrics, resolve),
            )
        case RepositorySpec():
            value = replace(
                value,
                username_file=resolve(value.username_file),
                password_file=resolve(value.password_file),
                ssh_key_file=resolve(value.ssh_key_file),
                known_hosts_file=resolve(value.known_hosts_file),
                ca_file=resolve(value.ca_file),
            )
        case RegistrySpec():
            value = replace(
                value,
                credential_file=resolve(value.credential_file),
                ca_file=resolve(value.ca_file),
            )
        case _:
            return one
    return replace(one, value=value)


def _resolve_metrics(
    server: MetricsServer | None, resolve: Callable[[str], str]
) -> MetricsServer | None:
    if server is None:
        return None
    return replace(
        server,
        token_file=resolve(server.token_file),
        password_file=resolve(server.password_file),
        ca_file=resolve(server.ca_file),
    )
