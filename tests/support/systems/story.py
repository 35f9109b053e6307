"""What a system's story says. Data only; `site` plays it and `judge` judges it.

A story is a module ``tests/support/systems/<system, with _ for ->.py`` with one ``STORY``. It plays
five scenarios in order on one running gitopsd, from empty namespaces. To play one system alone::

    pytest tests/cluster/test_system_scenarios.py -k eterna-rules

**What the harness does by itself.** It pushes ``manifests/<system>/`` to a Git host over HTTP (with
a signed webhook for each push), renders every stage's overlay with kubectl, and pushes each image
that it finds to the registry, with the behaviour that the story gives that image. It makes the
application's namespaces (bare), a StorageClass and volumes for claims, the custom kinds of
``tests/fixtures/crds`` and their controllers, gitopsd's account with the rights of
``manifests/rbac.yaml``, stand-ins for every registry host, and clusters of the names that the
application file uses. From the application file it changes the Git address and what only takes
time (`fitting.fit_application`): ``certify``, ``soak``, ``within`` of checks. Approvals are given.

**A scenario** starts from the content of the last good release. Its ``edits`` make the bad one;
``images`` and ``missing`` say what is wrong with images that it brings. Then the harness

1. pushes it and waits until it is caught in the stage ``caught`` (it must be live in the stages
   before);
2. judges: ``Refused`` when the release writes nothing to that stage, ``Restored`` when it was
   written as far as ``reach`` says and taken back. Everything gitopsd owned is as it was, what was
   added is gone, a server-side ``kubectl diff`` of the restored set is silent, the witness answers
   with the image of before;
3. pushes what renders to the same bytes again (a comment more): nothing is written;
4. pushes the ``fix`` (of the scenario or of the story), applied to the last *good* content, and
   waits until it is live in every stage, all of it and in the order of the runbook. The next
   scenario starts from that content. After a release that was caught in the first stage, let the
   fix change only that stage: the others still run what they ran, and say so at once.

**Rules for scenarios.** One of each kind, in the order of `KINDS`: ``good``, ``crashes``,
``image-missing``, ``migration-fails`` (or ``hook-fails`` for a system without a migration),
``smoke-fails``; further ones may follow. At least one is caught in production, by an image that
misbehaves only there (``whenEnv``) or a file that only its overlay reads. A bad release that is
``Restored`` differs from the good one, in the stage where it is caught, in one object added, one
deleted (prefer one nothing depends on: a PDB, a NetworkPolicy), one ConfigMap changed, and the
workload; the harness checks that by rendering. ``reason`` is searched in the sentence that gitopsd
gives for the failed run: kind and name of the object and the cause in the cluster's words.

**Versions.** In every text of edits (and in behaviours), ``@VERSION@`` is replaced: the n-th push
has ``story.version.format(n)``. Bump the tag with it, so that the release brings an image nobody
has seen; behaviours of ``Scenario.images`` hold for images that are first pushed in this scenario.
A ``fix`` needs no new image: one changed line of a ConfigMap is enough, and quick. ``SetLine``
works on whatever the line says now: prefer it to `Replace` for lines that change in each scenario.

**Behaviours** are those of `gitopsd.sandbox.behaviour` (read its docstring): ``ports``, ``routes``,
``exits`` (first that applies; ``whenEnv`` tells a Job from the server that shares its image),
``requireEnv``, ``exec`` for exec probes. `server` makes one for the usual case. Probes take a
twentieth of their time; time limits of Kubernetes (``progressDeadlineSeconds``,
``activeDeadlineSeconds``) are real.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from gitopsd.domain.manifests import Json, JsonObject

Behaviour: TypeAlias = dict[str, object]
Outcome = Literal["Live", "Refused", "Restored"]
Reach = Literal["Hooks", "Added", "Applied", "Pruned"]
"""How far a bad release came before it was taken back: nothing but hooks was written; objects of
waves before the workload's were; the workload was; and what it lacks was deleted, too."""

VERSION: Final = "@VERSION@"
REMOVED: Final = "(removed)"
"""Value of a `Fit` that takes a key away."""

STAGING, PRODUCTION = "staging", "production"
KINDS: Final = (
    ("good",),
    ("crashes",),
    ("image-missing",),
    ("migration-fails", "hook-fails"),
    ("smoke-fails",),
)


@dataclass(frozen=True, slots=True)
class SetLine:
    """Give the only line ``key: ...`` of a file another value; its indentation stays.

    Attributes:
        path: The file, from the repository's root.
        key: What stands before the colon, with ``- `` if the line begins so.
        value: What is to stand after it.
    """

    path: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace a text that a file holds exactly once.

    Attributes:
        path: The file, from the repository's root.
        old: What it holds.
        new: What it gets instead.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file, new or not.

    Attributes:
        path: The file, from the repository's root.
        text: All of its content.
    """

    path: str
    text: str


Edit: TypeAlias = SetLine | Replace | Write


@dataclass(frozen=True, slots=True)
class Fit:
    """One change of the application file, because of the place where it is played.

    Attributes:
        path: Keys and indexes, from ``spec``: ``("stages", 1, "gates")``.
        value: What stands there; `REMOVED` for nothing.
        reason: Why the file cannot be taken as it is.
        hurries: Whether it is for the sake of time alone; nodes that take their time do without.
    """

    path: tuple[str | int, ...]
    value: Json
    reason: str
    hurries: bool = False


@dataclass(frozen=True, slots=True)
class PlantedSecret:
    """A Secret that people make before the first release, because it is not in Git.

    Attributes:
        stage: In whose namespace.
        name: Its name.
        keys: Its keys; values are made up.
        kind: Its type; values of ``kubernetes.io/tls`` and ``dockerconfigjson`` are well-formed.
    """

    stage: str
    name: str
    keys: tuple[str, ...]
    kind: str = "Opaque"


@dataclass(frozen=True, slots=True)
class Witness:
    """How somebody outside asks the workload, through the API server's proxy.

    Attributes:
        service: Its Service, in the stage's namespace.
        port: The Service's port, by name or number.
        path: What is asked; it answers 200 in a good release.
        image: Whose digest ``X-Served-By`` names, as manifests write it after kustomize, without
            tag or digest.
        scheme: ``https`` when the workload ends TLS itself.
    """

    service: str
    port: str
    path: str
    image: str
    scheme: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One release and what is to become of it.

    Attributes:
        name: One of `KINDS`, or a further one.
        edits: What makes it, from the last good content. The first, ``good``, may have none.
        outcome: What is to become of it.
        caught: Stage in which it is caught; empty for good ones.
        reason: Regular expression that is found in gitopsd's sentence.
        images: Behaviour, by image without tag, of images that are first pushed in this scenario;
            others have the story's.
        missing: Images, without tag, that are not pushed when they are new.
        unready: Custom objects, as ``Kind/name``, that never become ready in the stage ``caught``;
            see `tests.support.operators`.
        reach: How far it comes before it is taken back; the audit log has to show it.
        late: Whether it goes live in ``caught`` first; what goes on checking catches it there, and
            calls somebody.
        fix: What is pushed afterwards, from the last good content; the story's when empty.
    """

    name: str
    edits: tuple[Edit, ...] = ()
    outcome: Outcome = "Restored"
    caught: str = ""
    reason: str = ""
    images: Mapping[str, Behaviour] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    unready: tuple[str, ...] = ()
    reach: Reach = "Applied"
    late: bool = False
    fix: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStory:
    """A system, as the harness has to know it.

    Attributes:
        name: Folder below ``manifests/`` and stem of the application file.
        workload: ``Kind/name`` of what bad releases change and the witness asks.
        witness: How it is asked.
        images: Behaviour of every image of every overlay that is released, by its name without tag
            as rendered.
        fix: See `Scenario.fix`: a change that is harmless, visible and quick.
        scenarios: In order of `KINDS`.
        order: Objects and hooks as ``Kind/name``, in the order of the runbook: each is written
            after the one before, and after that is complete when it is a hook. What a stage does
            not have is left out.
        version: Tag of the n-th push; ``1.4.{}`` gives 1.4.1 to the first after ``good``.
        setup: Edits of the folder before its first push, each for a reason told beside it.
        fits: Changes of the application file beyond those of the harness; few.
        branches: Branch of a stage that is not fed by ``main``.
        secrets: What is not in Git.
        owned_by_admins: Objects that administrators make before gitopsd comes: accounts that it
            acts as, roles, Secrets with a meaning. With their namespace.
        rights: Rules (as in a ClusterRole) that the system's README has people give to gitopsd.
        vault: What the vault holds by remote key, for ExternalSecrets that extract whole entries;
            single properties are made up. See `tests.support.operators`.
    """

    name: str
    workload: str
    witness: Witness
    images: Mapping[str, Behaviour]
    fix: tuple[Edit, ...]
    scenarios: tuple[Scenario, ...]
    order: tuple[str, ...]
    version: str = "1.4.{}"
    setup: tuple[Edit, ...] = ()
    fits: tuple[Fit, ...] = ()
    branches: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[PlantedSecret, ...] = ()
    owned_by_admins: tuple[JsonObject, ...] = ()
    rights: tuple[JsonObject, ...] = ()
    vault: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def server(*ports: int, paths: tuple[str, ...] = ("/health",), **more: object) -> Behaviour:
    """A program that answers 200 and ``{"status": "healthy", ...}`` at each path.

    Args:
        ports: Where it listens.
        paths: What it answers; others are 404.
        more: Other keys of the behaviour; ``routes`` come before these and win.
    """
    said = {"status": "healthy", "version": "$(IMAGE_VERSION)"}
    own = more.pop("routes", [])
    assert isinstance(own, list)
    routes = [*own, *({"path": path, "json": said} for path in paths)]
    return {"ports": list(ports), "routes": routes, **more}


def fix_in_staging(overlay: str = "overlays/staging") -> tuple[Edit, ...]:
    """A fix that only staging gets: people find it under another name.

    Args:
        overlay: The one with the patch that names it.
    """
    line = "- {op: replace, path: /spec/rules/0/host, value"
    return (SetLine(f"{overlay}/kustomization.yaml", line, f"v{VERSION}.staging.example}}"),)
