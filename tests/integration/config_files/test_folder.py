"""A whole folder: what counts when files are wrong, missing, or contradict each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitopsd.adapters.config_files.live import ConfigurationFiles, LoadResult, load_configuration
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.sources import ReceiverName
from gitopsd.errors import PermanentError
from tests.support.configuration import (
    APPLICATION,
    CLUSTER,
    RECEIVER,
    applications,
    write_files,
)

EXAMPLES = Path(__file__).parents[3] / "config" / "examples"


def _said(result: LoadResult) -> list[tuple[str, str, str]]:
    return [(error.file, error.path, error.problem) for error in result.errors]


def _names(result: LoadResult) -> list[str]:
    return sorted(result.configuration.applications)


def test_the_examples_are_valid() -> None:
    """What people copy from works, secrets aside, and uses every kind."""
    result = load_configuration(EXAMPLES, check_secrets=False)
    assert _said(result) == []
    configuration = result.configuration
    assert configuration.applications
    assert configuration.clusters
    assert configuration.repositories
    assert configuration.receivers
    assert configuration.channels
    assert configuration.people.persons
    assert configuration.projects


def test_the_examples_need_their_secrets() -> None:
    """Missing secret files are each named with their place."""
    result = load_configuration(EXAMPLES)
    places = {(file, path) for file, path, _ in _said(result)}
    assert ("receivers/github.yaml", "spec.secretFiles[0]") in places
    assert ("clusters/production.yaml", "spec.tokenFile") in places
    assert not result.configuration.receivers


def test_an_empty_folder_is_an_empty_configuration(tmp_path: Path) -> None:
    """The first start needs no file."""
    result = load_configuration(tmp_path)
    assert _said(result) == []
    assert result.held == ()
    assert not result.configuration.applications


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """No folder, no configuration, one sentence."""
    [(file, path, problem)] = _said(load_configuration(tmp_path / "none"))
    assert (file, path) == (f"{tmp_path / 'none'}", "")
    assert problem == "the folder cannot be read: No such file or directory"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Hidden files, notes and editors' copies are no configuration."""
    write_files(
        tmp_path,
        applications("a")
        | {"README.md": "x", ".git/config.yaml": "[", "applications/.a.yaml.swp": "[",
           "applications/a.yaml~": "[", "applications/notes.txt": "["},
    )  # fmt: skip
    result = load_configuration(tmp_path)
    assert _said(result) == []
    assert _names(result) == ["a"]


def test_folders_may_be_nested(tmp_path: Path) -> None:
    """Teams may have folders of their own below a kind's folder."""
    write_files(tmp_path, applications("a"))
    write_files(tmp_path, {"applications/team/one/b.yml": APPLICATION.replace("NAME", "b")})
    assert _names(load_configuration(tmp_path)) == ["a", "b"]


def test_misplaced_files_are_named(tmp_path: Path) -> None:
    """A file that no kind's folder holds says where it belongs."""
    write_files(
        tmp_path,
        {"application/a.yaml": "x", "people.yml": "x", "a.yaml": "x"},
    )
    result = load_configuration(tmp_path)
    assert sorted(_said(result)) == [
        ("a.yaml", "", "only people.yaml lies at the top of the configuration"),
        ("application/a.yaml", "", "application/ is no folder of the configuration"),
        ("people.yml", "", "only people.yaml lies at the top of the configuration"),
    ]
    remedies = {error.file: error.remedy for error in result.errors}
    assert remedies["application/a.yaml"] == "Did you mean `applications`?"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """Dangling links, folders named like files and pipes do not stop the others."""
    write_files(tmp_path, applications("a"))
    (tmp_path / "applications" / "b.yaml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "applications" / "c.yaml")
    (tmp_path / "applications" / "d.yaml").mkdir()
    result = load_configuration(tmp_path)
    assert _said(result) == [
        ("applications/b.yaml", "",
         "the file cannot be read: it is not there, or a link to nothing"),
        ("applications/c.yaml", "", "the file cannot be read: it is no regular file"),
    ]  # fmt: skip
    assert _names(result) == ["a"]


def test_an_invalid_file_never_replaces_a_valid_one(tmp_path: Path) -> None:
    """The old content counts until the file is mended; other files go on."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b")))
    before = files.load()
    write_files(tmp_path, {"applications/a.yaml": "kind: [", "applications/b.yaml": "# empty"})
    broken = files.load()
    assert broken.configuration == before.configuration
    assert [file for file, _, _ in _said(broken)] == ["applications/a.yaml", "applications/b.yaml"]
    changed = APPLICATION.replace("NAME", "a").replace("branch: main", "branch: next")
    write_files(tmp_path, {"applications/a.yaml": changed})
    mended = files.load()
    assert mended.configuration.applications[ApplicationName("a")].source.ref == "refs/heads/next"
    assert [file for file, _, _ in _said(mended)] == ["applications/b.yaml"]
    assert _names(mended) == ["a", "b"]


def test_a_new_file_that_is_invalid_is_left_out(tmp_path: Path) -> None:
    """What was never valid does not count."""
    result = load_configuration(
        write_files(tmp_path, applications("a") | {"applications/b.yaml": "kind: Application"})
    )
    assert _names(result) == ["a"]


def test_last_valid_applications_survive_a_restart(tmp_path: Path) -> None:
    """What the store remembers protects as the running process did."""
    known = load_configuration(write_files(tmp_path, applications("a", "b", "c")))
    write_files(tmp_path, {"applications/a.yaml": "["})
    restarted = ConfigurationFiles(tmp_path, known=known.configuration.applications.values())
    result = restarted.load()
    assert result.configuration.applications == known.configuration.applications
    for name in ("a", "b", "c"):
        (tmp_path / "applications" / f"{name}.yaml").unlink()
    emptied = ConfigurationFiles(tmp_path, known=known.configuration.applications.values())
    assert _names(emptied.load()) == ["a", "b", "c"]
    assert len(emptied.current.held) == 3


def test_unknown_clusters_are_named(tmp_path: Path) -> None:
    """A stage's cluster must be configured."""
    files = applications("a") | {"clusters/one.yaml": CLUSTER.replace("NAME", "ones")}
    result = load_configuration(write_files(tmp_path, files))
    assert _said(result) == [
        ("applications/a.yaml", f"spec.stages[{n}].cluster", "there is no cluster 'one'")
        for n in (0, 1)
    ]
    assert result.errors[0].remedy == "Did you mean `ones`?"
    assert _names(result) == []


def test_a_broken_cluster_is_mended_first(tmp_path: Path) -> None:
    """Whoever misses a cluster is pointed to the file that should define it."""
    result = load_configuration(
        write_files(tmp_path, applications("a") | {"clusters/one.yaml": "kind: Cluster"})
    )
    remedies = {error.remedy for error in result.errors if error.file == "applications/a.yaml"}
    assert remedies == {"Mend clusters/one.yaml first"}


def test_a_cluster_that_is_used_stays(tmp_path: Path) -> None:
    """Removing or renaming a cluster that stages use changes nothing but the errors."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    before = files.load()
    (tmp_path / "clusters" / "one.yaml").unlink()
    removed = files.load()
    assert removed.configuration == before.configuration
    assert _said(removed) == [
        ("clusters/one.yaml", "",
         "cluster one is gone, but applications/a.yaml uses it at spec.stages[0].cluster"),
    ]  # fmt: skip
    write_files(tmp_path, {"clusters/one.yaml": CLUSTER.replace("NAME", "two")})
    renamed = files.load()
    assert renamed.configuration == before.configuration
    (tmp_path / "applications" / "a.yaml").unlink()
    assert sorted(files.load().configuration.clusters) == ["two"]
    assert _said(files.current) == []


def test_a_new_application_does_not_bring_a_cluster_back(tmp_path: Path) -> None:
    """Only what worked before is protected."""
    files = ConfigurationFiles(write_files(tmp_path, applications()))
    assert files.load().configuration.clusters
    (tmp_path / "clusters" / "one.yaml").unlink()
    write_files(tmp_path, {"applications/a.yaml": APPLICATION.replace("NAME", "a")})
    result = files.load()
    assert _names(result) == []
    assert not result.configuration.clusters


def test_a_cluster_and_its_users_move_together(tmp_path: Path) -> None:
    """A rename that is complete counts at once."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    write_files(
        tmp_path,
        {"clusters/one.yaml": CLUSTER.replace("NAME", "two"),
         "applications/a.yaml": APPLICATION.replace("NAME", "a").replace("one", "two")},
    )  # fmt: skip
    result = files.load()
    assert _said(result) == []
    assert sorted(result.configuration.clusters) == ["two"]


def test_a_name_belongs_to_its_first_owner(tmp_path: Path) -> None:
    """A second file of the same name is refused, whatever the files are called."""
    files = ConfigurationFiles(write_files(tmp_path, applications("b")))
    before = files.load()
    write_files(tmp_path, {"applications/a.yaml": APPLICATION.replace("NAME", "b")})
    result = files.load()
    assert result.configuration == before.configuration
    assert _said(result) == [
        ("applications/a.yaml", "metadata.name",
         "Application b is defined in applications/b.yaml already"),
    ]  # fmt: skip
    fresh = load_configuration(tmp_path)
    assert [file for file, _, _ in _said(fresh)] == ["applications/b.yaml"]


def test_a_renamed_file_is_the_same_application(tmp_path: Path) -> None:
    """Names of files mean nothing; nothing vanished."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c")))
    files.load()
    for name in ("a", "b", "c"):
        path = tmp_path / "applications" / f"{name}.yaml"
        path.rename(path.with_name(f"renamed-{name}.yaml"))
    result = files.load()
    assert _said(result) == []
    assert result.held == ()
    assert _names(result) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "replacement, path, problem",
    [
        ("after: [stagin]", "spec.stages[1].after[0]", "there is no stage 'stagin'"),
        ("after: [production]", "spec.stages[1].after", "stage production waits for itself"),
        ("after: [staging], branch: x", "spec.stages[1].branch",
         "a stage with its own branch is fed by that branch, not by promotion"),
        ("after: [staging], tags: v*", "spec.stages[1].tags",
         "a stage with its own tags is fed by those tags, not by promotion"),
        ("after: [staging], gates: [{soak: {stage: production, for: 1m}}]",
         "spec.stages[1].gates[0].soak.stage", "'production' is not upstream of production"),
        ("gates: [{soak: {stage: staging, for: 1m}}]",
         "spec.stages[1].gates[0].soak.stage", "'staging' is not upstream of production"),
        ("upstream: {stage: stagin, match: images}", "spec.stages[1].upstream.stage",
         "there is no stage 'stagin'"),
        ("upstream: {stage: production, match: images}", "spec.stages[1].upstream.stage",
         "stage production waits for itself"),
        ("after: [staging], upstream: {stage: staging, match: images}", "spec.stages[1].upstream",
         "`after` asks for whole releases, images included"),
        ("upstream: {stage: staging, match: images}, gates: [{soak: {stage: production, for: 1m}}]",
         "spec.stages[1].gates[0].soak.stage", "'production' is not upstream of production"),
    ],
)  # fmt: skip
def test_contradictions_in_an_application_are_named(
    tmp_path: Path, replacement: str, path: str, problem: str
) -> None:
    """Stages must fit together."""
    text = APPLICATION.replace("NAME", "a").replace("after: [staging]", replacement)
    result = load_configuration(
        write_files(tmp_path, applications("a") | {"applications/a.yaml": text})
    )
    assert _said(result) == [("applications/a.yaml", path, problem)]


def test_stages_in_a_circle_are_named(tmp_path: Path) -> None:
    """Each stage of the circle says so; a stage named twice as well."""
    text = APPLICATION.replace("NAME", "a")
    text = text.replace("namespace: a-staging}", "namespace: a-staging, after: [production]}")
    text += "    - {name: staging, cluster: one, path: x, namespace: a}\n"
    result = load_configuration(
        write_files(tmp_path, applications("a") | {"applications/a.yaml": text})
    )
    assert _said(result) == [
        ("applications/a.yaml", "spec.stages[2].name", "stage staging is there already")
    ]
    text = text.replace("    - {name: staging, cluster: one, path: x, namespace: a}\n", "")
    result = load_configuration(write_files(tmp_path, {"applications/a.yaml": text}))
    assert _said(result) == [
        ("applications/a.yaml", "spec.stages[0].after", "stage staging waits for itself"),
        ("applications/a.yaml", "spec.stages[1].after", "stage production waits for itself"),
    ]


def test_stages_that_ask_each_other_for_images_are_named(tmp_path: Path) -> None:
    """Neither would ever get any; a stage that only one asks, by a branch of its own, is fine."""
    asks = "branch: next, upstream: {stage: staging, match: images}"
    soaks = f"{asks}, gates: [{{soak: {{stage: staging, for: 1m}}}}]"
    fine = APPLICATION.replace("NAME", "a").replace("after: [staging]", soaks)
    files = applications("a") | {"applications/a.yaml": fine}
    assert _said(load_configuration(write_files(tmp_path, files))) == []
    text = APPLICATION.replace("NAME", "a").replace("after: [staging]", asks)
    back = "namespace: a-staging, upstream: {stage: production, match: images}}"
    text = text.replace("namespace: a-staging}", back)
    result = load_configuration(write_files(tmp_path, {"applications/a.yaml": text}))
    assert _said(result) == [
        ("applications/a.yaml", "spec.stages[0].upstream.stage", "stage staging waits for itself"),
        ("applications/a.yaml", "spec.stages[1].upstream.stage",
         "stage production waits for itself"),
    ]  # fmt: skip


PROJECT = """\
apiVersion: gitopsd.io/v1
kind: Project
metadata: {name: platform}
spec: {labels: {team: platform}, clusters: [two], namespaces: [a], kinds: [ClusterRole]}
"""


def test_project_limits_are_checked(tmp_path: Path) -> None:
    """Clusters, namespaces and cluster-scoped kinds beyond the project's are named."""
    text = APPLICATION.replace("NAME", "a").replace(
        "after: [staging]",
        "namespaces: [a, kube-system], clusterScoped: [ClusterRole/a, Namespace]",
    )
    other = APPLICATION.replace("NAME", "other").replace("platform", "else")
    result = load_configuration(
        write_files(
            tmp_path,
            applications("a")
            | {"applications/a.yaml": text, "applications/other.yaml": other,
               "projects/platform.yaml": PROJECT},
        )
    )  # fmt: skip
    assert [(path, problem) for _, path, problem in _said(result)] == [
        ("spec.stages[0].cluster", "project platform does not allow cluster one"),
        ("spec.stages[0].namespace", "project platform does not allow namespace a-staging"),
        ("spec.stages[1].cluster", "project platform does not allow cluster one"),
        ("spec.stages[1].clusterScoped[1]", "project platform does not allow kind Namespace"),
        ("spec.stages[1].namespaces[1]", "project platform does not allow namespace kube-system"),
    ]
    assert _names(result) == ["other"]


def test_a_project_that_grows_narrow_leaves_what_works(tmp_path: Path) -> None:
    """An application that an edit elsewhere made invalid goes on, and its error is shown."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    before = files.load()
    write_files(tmp_path, {"projects/platform.yaml": PROJECT})
    result = files.load()
    assert result.configuration.applications == before.configuration.applications
    assert result.configuration.projects
    assert {file for file, _, _ in _said(result)} == {"applications/a.yaml"}


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "cannot be used: it is empty"),
        (b"\n", "cannot be used: it is empty"),
        (b"whsec_?", "cannot be used: it begins with whsec_ but what follows is not base64"),
        (b"x" * 1_048_577, "is longer than 1048576 bytes"),
    ],
)
def test_a_receiver_needs_its_secret(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A receiver whose secret cannot be used is no receiver, and what is wrong is said."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    receiver = RECEIVER.replace("NAME", "hook").replace("SECRET", "../secret")
    result = load_configuration(write_files(tmp_path / "config", {"receivers/hook.yaml": receiver}))
    assert [(file, path) for file, path, _ in _said(result)] == [
        ("receivers/hook.yaml", "spec.secretFiles[0]")
    ]
    assert result.errors[0].problem.endswith(problem)
    assert not result.configuration.receivers


def test_secret_files_begin_at_the_folder(tmp_path: Path) -> None:
    """A relative name is looked for beside the configuration, an absolute one where it says."""
    write_files(tmp_path, {"secrets/one": "a\r\n", "config/secrets/one": "b"})
    receiver = RECEIVER.replace("NAME", "hook")
    names = f"secrets/one, {tmp_path}/secrets/one"
    write_files(tmp_path / "config", {"receivers/hook.yaml": receiver.replace("SECRET", names)})
    result = load_configuration(tmp_path / "config")
    assert _said(result) == []
    assert result.configuration.receivers[ReceiverName("hook")].secret_files == (
        f"{tmp_path}/config/secrets/one",
        f"{tmp_path}/secrets/one",
    )


def _remove(tmp_path: Path, *names: str) -> None:
    for name in names:
        (tmp_path / "applications" / f"{name}.yaml").unlink()


def test_a_removed_file_is_removed(tmp_path: Path) -> None:
    """One file, or two of many, that go away are meant."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c", "d", "e")))
    files.load()
    _remove(tmp_path, "a", "b")
    result = files.load()
    assert (result.held, _said(result)) == ((), [])
    assert _names(result) == ["c", "d", "e"]


def test_a_mass_removal_is_not_believed(tmp_path: Path) -> None:
    """More than half, at least three, gone at once: all still count until confirmed."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c", "d", "e")))
    before = files.load()
    _remove(tmp_path, "a", "b", "c")
    result = files.load()
    assert result.configuration == before.configuration
    assert result.held == tuple(f"applications/{name}.yaml" for name in "abc")
    [(file, path, problem)] = _said(result)
    assert (file, path) == (str(tmp_path), "")
    assert problem == (
        "3 of 6 files vanished at once"
        " (applications/a.yaml, applications/b.yaml, applications/c.yaml)"
    )
    assert files.load().held == result.held
    assert [one.file for one in files.held] == list(result.held)
    assert [(one.kind, one.name) for one in files.held] == [
        ("Application", name) for name in ("a", "b", "c")
    ]
    assert {stage for one in files.held for stage in one.stages} == {"staging", "production"}
    assert files.confirm_removals() == result.held
    confirmed = files.load()
    assert _names(confirmed) == ["d", "e"]
    assert (confirmed.held, _said(confirmed)) == ((), [])
    assert files.load().held == ()


def test_what_comes_back_is_no_longer_held(tmp_path: Path) -> None:
    """Held files stay held one by one: two of three that stay away are not taken for meant."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c", "d", "e")))
    files.load()
    _remove(tmp_path, "a", "b", "c")
    files.load()
    write_files(tmp_path, applications("a"))
    result = files.load()
    assert result.held == ("applications/b.yaml", "applications/c.yaml")
    assert _names(result) == ["a", "b", "c", "d", "e"]
    write_files(tmp_path, applications("b", "c"))
    assert files.load().held == ()


def test_an_emptied_folder_is_not_believed(tmp_path: Path) -> None:
    """Even a single file counts on when nothing at all is left."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    before = files.load()
    _remove(tmp_path, "a")
    (tmp_path / "clusters" / "one.yaml").unlink()
    result = files.load()
    assert result.configuration == before.configuration
    assert result.held == ("applications/a.yaml", "clusters/one.yaml")


def test_a_vanished_folder_is_not_believed(tmp_path: Path) -> None:
    """A mount that went away retires nothing; when it is back, nothing has happened."""
    files = ConfigurationFiles(write_files(tmp_path / "config", applications("a", "b")))
    before = files.load()
    (tmp_path / "config").rename(tmp_path / "away")
    result = files.load()
    assert result.configuration == before.configuration
    assert [problem for _, _, problem in _said(result)] == [
        "the folder cannot be read: No such file or directory"
    ]
    (tmp_path / "away").rename(tmp_path / "config")
    assert files.load().same_as(before)


def test_a_folder_that_was_never_there_says_how_to_name_it(tmp_path: Path) -> None:
    """At a first start nothing was said before: the remedy is another one."""
    first = ConfigurationFiles(tmp_path / "none").load()
    files = ConfigurationFiles(write_files(tmp_path / "config", applications("a")))
    files.load()
    (tmp_path / "config").rename(tmp_path / "away")
    later = files.load()

    assert [error.remedy for error in first.errors] == [
        "Make it, or set GITOPSD_CONFIG_DIR to the folder that you mean"
    ]
    assert list(later.configuration.applications) == ["a"]
    assert [error.remedy for error in later.errors] == [
        "What it said before still counts. Let gitopsd read it"
    ]


def test_an_unreadable_folder_is_not_believed(tmp_path: Path) -> None:
    """A folder that turns into a link to nothing keeps what it said."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b")))
    before = files.load()
    (tmp_path / "applications").rename(tmp_path / ".away")
    loop = tmp_path / "applications"
    loop.symlink_to("applications")
    result = files.load()
    assert result.configuration == before.configuration
    assert ("the folder cannot be read: it is a link to nothing") in {
        problem for _, _, problem in _said(result)
    }


def test_many_names_are_cut(tmp_path: Path) -> None:
    """The sentence about a mass removal names five files at most."""
    names = [f"a{number}" for number in range(8)]
    files = ConfigurationFiles(write_files(tmp_path, applications(*names)))
    files.load()
    _remove(tmp_path, *names)
    assert files.load().errors[0].problem.endswith("applications/a4.yaml, ...)")


def test_a_secret_that_cannot_be_read_is_a_permanent_error(tmp_path: Path) -> None:
    """The reader of secrets says which file and why."""
    from gitopsd.adapters.secret_files import load_secret  # noqa: PLC0415 - used here alone

    with pytest.raises(PermanentError) as caught:
        load_secret(str(tmp_path))
    assert caught.value.message == f"secret file {tmp_path} cannot be read: Is a directory"
    with pytest.raises(PermanentError) as caught:
        load_secret("a\x00b")
    assert caught.value.message.endswith("cannot be read: bad path")
    (tmp_path / "one").write_bytes(b"topsecret\n\n")
    assert load_secret(str(tmp_path / "one")) == b"topsecret\n"


def test_keys_of_a_configmap_are_files_of_folders(tmp_path: Path) -> None:
    """Mounted side by side, ``__`` stands for the slash that a key cannot hold."""
    flat = {name.replace("/", "__"): text for name, text in applications("shop").items()}
    result = load_configuration(write_files(tmp_path, {**flat, "x__y.yaml": ""}))

    assert _names(result) == ["shop"]
    assert [file for file, _, _ in _said(result)] == ["x__y.yaml"]


def test_a_file_that_is_there_in_both_ways_is_named(tmp_path: Path) -> None:
    """The one at the top counts, and the other is not passed over in silence."""
    cluster = CLUSTER.replace("NAME", "one")
    other = cluster.replace("inCluster: true", "inCluster: true, inventoryNamespace: other")
    files = {"clusters/one.yaml": other, "clusters__one.yaml": cluster}
    result = load_configuration(write_files(tmp_path, files))

    assert [one.inventory_namespace for one in result.configuration.clusters.values()] == [
        "gitopsd"
    ]
    assert _said(result) == [
        ("clusters/one.yaml", "", "it is there twice, once as clusters__one.yaml at the top")
    ]
