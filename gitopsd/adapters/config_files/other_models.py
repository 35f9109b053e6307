"""The kinds beside Application and Channel: Cluster, Repository, Receiver, Project, People."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gitopsd.adapters.config_files.application_model import MetadataSection
from gitopsd.adapters.config_files.fields import (
    FileName,
    HttpUrl,
    Kind,
    Name,
    Section,
    Subject,
    refuse,
)
from gitopsd.domain.config import ClusterSpec, ProjectSpec
from gitopsd.domain.metrics import MetricsServer
from gitopsd.domain.people import People, Person, RoleBinding
from gitopsd.domain.sources import (
    PushSpec,
    ReceiverName,
    ReceiverSpec,
    ReceiverType,
    RepositorySpec,
)

ApiVersion: TypeAlias = Literal["gitopsd.io/v1"]


def _refuse_later(later: Collection[str], remedy: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if value in later:
            raise refuse(f"`{value}` is not supported yet", remedy)
        return value

    return check


_LATER_RECEIVERS = (
    "gitlab",
    "gitea",
    "forgejo",
    "gogs",
    "bitbucket",
    "harbor",
    "dockerhub",
    "quay",
)


def _check_author(value: str) -> str:
    if not value.strip() or set(value) & set("<>\n\r\x00"):
        raise refuse(
            f"Git takes {value[:60]!r} for no name or e-mail",
            "Write it without angle brackets and line breaks",
        )
    return value


AuthorText: TypeAlias = Annotated[str, Field(max_length=200), AfterValidator(_check_author)]
"""What a commit says of who made it."""

ReceiverKind: TypeAlias = Annotated[
    Literal["github", "generic", "distribution"],
    BeforeValidator(_refuse_later(_LATER_RECEIVERS, "Use `generic` with a signature of your own")),
]


class RolloutSection(Section):
    """``rollout:`` of a cluster."""

    budget: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="Front Rollouts that may be under way at once"
    )


class MetricsSection(Section):
    """``metrics:`` of a cluster: a server with Prometheus' HTTP API."""

    url: HttpUrl = Field(
        description="Its address, without `/api/v1`",
        examples=["http://prometheus.monitoring:9090"],
    )
    token_file: FileName | None = Field(default=None, description="File with a bearer token")
    username: str = Field(default="", description="User of basic authentication")
    password_file: FileName | None = Field(default=None, description="File with its password")
    ca_file: FileName | None = Field(default=None, description="File with the CA certificates")

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if bool(self.username) != (self.password_file is not None):
            raise refuse(
                "`username` and `passwordFile` go together", "Write both, or `tokenFile`, or none"
            )
        if self.username and self.token_file is not None:
            raise refuse("there are two ways to sign in", "Write `tokenFile`, or `username`")
        if ":" in self.username:
            raise refuse("a user name holds no colon", "Write the name alone")
        return self

    def to_domain(self) -> MetricsServer:
        """Make the frozen value."""
        return MetricsServer(
            url=self.url,
            token_file=self.token_file or "",
            username=self.username,
            password_file=self.password_file or "",
            ca_file=self.ca_file or "",
        )


class ClusterSection(Section):
    """``spec:`` of a cluster."""

    in_cluster: bool = Field(default=False, description="Use the pod's own service account")
    kubeconfig: FileName | None = Field(default=None, description="Kubeconfig file")
    context: str | None = Field(default=None, description="Context in it; its current one if unset")
    server: HttpUrl | None = Field(default=None, description="API server address")
    token_file: FileName | None = Field(default=None, description="File with the bearer token")
    ca_file: FileName | None = Field(default=None, description="File with the CA certificates")
    inventory_namespace: Name = Field(default="gitopsd", description="Namespace of gitopsd's own")
    rollout: RolloutSection = RolloutSection()
    metrics: MetricsSection | None = Field(
        default=None, description="Where Prometheus gates and checks of its stages ask"
    )

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        ways = [self.in_cluster, self.kubeconfig is not None, self.server is not None]
        if sum(ways) != 1:
            raise refuse(
                f"a cluster is reached in one way, {sum(ways)} are given",
                "Write `inCluster: true`, or `kubeconfig: FILE`, or `server: https://...`",
            )
        if self.server is not None and (self.token_file is None or self.ca_file is None):
            raise refuse(
                "`server` needs `tokenFile` and `caFile`", "Name a file for each of the two"
            )
        if self.server is None and (self.token_file or self.ca_file):
            raise refuse("`tokenFile` and `caFile` go with `server`", "Write `server:` too")
        if self.kubeconfig is None and self.context is not None:
            raise refuse("`context` goes with `kubeconfig`", "Write `kubeconfig:` too")
        return self


class Cluster(Section):
    """How to reach a Kubernetes cluster."""

    api_version: ApiVersion = Field(alias="apiVersion")
    kind: Literal["Cluster"]
    metadata: MetadataSection
    spec: ClusterSection

    def to_domain(self) -> ClusterSpec:
        """Make the frozen value."""
        spec = self.spec
        return ClusterSpec(
            name=self.metadata.name,
            in_cluster=spec.in_cluster,
            kubeconfig=spec.kubeconfig or "",
            context=spec.context or "",
            server=spec.server or "",
            token_file=spec.token_file or "",
            ca_file=spec.ca_file or "",
            inventory_namespace=spec.inventory_namespace,
            rollout_budget=spec.rollout.budget,
            metrics=spec.metrics.to_domain() if spec.metrics is not None else None,
        )


class AuthorSection(Section):
    """``author:`` of ``push:``."""

    name: AuthorText = "gitopsd"
    email: AuthorText = "gitopsd@localhost"


class PushSection(Section):
    """``push:`` of a repository: how commits of gitopsd's own are pushed."""

    username_file: FileName | None = Field(default=None, description="File with the user name")
    password_file: FileName | None = Field(
        default=None, description="File with the password or token that may write"
    )
    ssh_key_file: FileName | None = Field(
        default=None, description="File with the private key that may write"
    )
    author: AuthorSection = Field(
        default=AuthorSection(), description="Who the commits say they are from"
    )

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if (self.password_file is None) == (self.ssh_key_file is None):
            raise refuse(
                "`push` needs one credential that may write",
                "Write `passwordFile` for https addresses, or `sshKeyFile` for ssh ones",
            )
        return self

    def to_domain(self) -> PushSpec:
        """Make the frozen value."""
        return PushSpec(
            username_file=self.username_file or "",
            password_file=self.password_file or "",
            ssh_key_file=self.ssh_key_file or "",
            author_name=self.author.name,
            author_email=self.author.email,
        )


class RepositorySection(Section):
    """``spec:`` of a repository."""

    url_prefix: Annotated[str, Field(min_length=1)] = Field(
        description="Addresses it applies to; the longest match wins",
        examples=["https://git.example/team"],
    )
    username_file: FileName | None = Field(default=None, description="File with the user name")
    password_file: FileName | None = Field(
        default=None, description="File with the password or token"
    )
    ssh_key_file: FileName | None = Field(default=None, description="File with the private key")
    known_hosts_file: FileName | None = Field(
        default=None, description="SSH host keys that are accepted"
    )
    ca_file: FileName | None = Field(default=None, description="CA certificates for HTTPS")
    push: PushSection | None = Field(
        default=None, description="How commits are pushed after a rollback; nothing is if unset"
    )

    @model_validator(mode="after")
    def _check_host_keys(self) -> Self:
        keys = (self.ssh_key_file, self.push.ssh_key_file if self.push is not None else None)
        if any(keys) and self.known_hosts_file is None:
            raise refuse(
                "`sshKeyFile` without `knownHostsFile`: no SSH host would be accepted",
                "Write the hosts' keys to a file (`ssh-keyscan HOST`, compared with what the host"
                " publishes) and name it in `knownHostsFile`",
            )
        return self


class Repository(Section):
    """Credentials for the repositories under an address."""

    api_version: ApiVersion = Field(alias="apiVersion")
    kind: Literal["Repository"]
    metadata: MetadataSection
    spec: RepositorySection

    def to_domain(self) -> RepositorySpec:
        """Make the frozen value."""
        spec = self.spec
        return RepositorySpec(
            name=self.metadata.name,
            url_prefix=spec.url_prefix,
            username_file=spec.username_file or "",
            password_file=spec.password_file or "",
            ssh_key_file=spec.ssh_key_file or "",
            known_hosts_file=spec.known_hosts_file or "",
            ca_file=spec.ca_file or "",
            push=spec.push.to_domain() if spec.push is not None else None,
        )


class ReceiverSection(Section):
    """``spec:`` of a receiver."""

    type: ReceiverKind = Field(description="Wire format", examples=["github"])
    secret_files: Annotated[list[FileName], Field(min_length=1, max_length=2)] = Field(
        description="Files with the live secrets: one, or two while rotating",
        examples=["[/run/secrets/webhook]"],
    )
    sources: list[str] = Field(
        default=[], description="Repository or image addresses it may speak of; all if unset"
    )


class Receiver(Section):
    """A webhook address: ``POST /hooks/NAME``."""

    api_version: ApiVersion = Field(alias="apiVersion")
    kind: Literal["Receiver"]
    metadata: MetadataSection
    spec: ReceiverSection

    def to_domain(self) -> ReceiverSpec:
        """Make the frozen value."""
        return ReceiverSpec(
            name=ReceiverName(self.metadata.name),
            type=ReceiverType(self.spec.type),
            secret_files=tuple(self.spec.secret_files),
            sources=tuple(self.spec.sources),
        )


class ProjectSection(Section):
    """``spec:`` of a project; what is left out allows all."""

    NOT_YET: ClassVar[dict[str, str]] = {"registries": "Limit registries in the cluster meanwhile"}

    labels: Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="Labels that put an application into the project"
    )
    clusters: list[Name] = Field(default=[], description="Clusters they may use")
    namespaces: list[Name] = Field(default=[], description="Namespaces they may write to")
    kinds: list[Kind] = Field(default=[], description="Kinds they may contain")


class Project(Section):
    """Limits for a set of applications."""

    api_version: ApiVersion = Field(alias="apiVersion")
    kind: Literal["Project"]
    metadata: MetadataSection
    spec: ProjectSection

    def to_domain(self) -> ProjectSpec:
        """Make the frozen value."""
        spec = self.spec
        return ProjectSpec(
            name=self.metadata.name,
            labels=spec.labels,
            clusters=tuple(spec.clusters),
            namespaces=tuple(spec.namespaces),
            kinds=tuple(spec.kinds),
        )


class PersonSection(Section):
    """One entry of ``persons:``."""

    NOT_YET: ClassVar[dict[str, str]] = {
        "slack": "Approve over the API or the CLI meanwhile",
    }

    subject: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Stable name, as in tokens"
    )
    emails: list[str] = Field(default=[], description="Commit e-mail addresses")
    groups: list[str] = Field(default=[], description="Groups the person is in")
    github: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Login at GitHub, as webhooks name who pushed"
    )


class BindingSection(Section):
    """One entry of ``bindings:``."""

    role: Literal["viewer", "deployer", "approver", "skip-gate", "admin"]
    subjects: Annotated[list[Subject], Field(min_length=1)]
    applications: list[Name] = Field(
        default=[], description="Applications it counts for; all if unset"
    )


class PeopleSection(Section):
    """``spec:`` of ``people.yaml``."""

    persons: list[PersonSection] = Field(default=[], description="Who there is")
    bindings: list[BindingSection] = Field(default=[], description="Who holds which role")


class PeopleFile(Section):
    """Who there is, in which groups, with which roles."""

    api_version: ApiVersion = Field(alias="apiVersion")
    kind: Literal["People"]
    metadata: MetadataSection | None = None
    spec: PeopleSection

    def to_domain(self) -> People:
        """Make the frozen value."""
        return People(
            persons=tuple(
                Person(one.subject, tuple(one.emails), tuple(one.groups), one.github)
                for one in self.spec.persons
            ),
            bindings=tuple(
                RoleBinding(one.role, tuple(one.subjects), tuple(one.applications))
                for one in self.spec.bindings
            ),
        )
