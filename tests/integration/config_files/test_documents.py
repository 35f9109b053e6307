"""One file at a time: what is said about each mistake."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from gitopsd.adapters.config_files.channel_model import Trigger as KnownTrigger
from gitopsd.adapters.config_files.documents import Parsed, parse_file
from gitopsd.adapters.config_files.fields import format_duration, parse_duration
from gitopsd.domain.channels import ChannelSpec, ChannelType, Subscription
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import (
    ApplicationSpec,
    ClusterSpec,
    MonitorSpec,
    PruneLimits,
    RollbackPolicy,
    StageMode,
    UpstreamMatch,
    UpstreamSpec,
)
from gitopsd.domain.gate_specs import ApprovalGate, ManualGate, SoakGate
from gitopsd.domain.people import People, Person, RoleBinding
from gitopsd.domain.releases import StageName
from gitopsd.pipeline.commands import Trigger

HEAD = "apiVersion: gitopsd.io/v1\nkind: {kind}\nmetadata: {{name: it}}\n"
STAGE = "{name: staging, cluster: one, path: overlays/staging, namespace: it"
FILE = "applications/it.yaml"


def _problems(text: str, kind: str = "Application") -> list[tuple[str, str, str]]:
    answer = parse_file(FILE, kind, text.encode())
    assert not isinstance(answer, Parsed)
    assert all(error.file == FILE for error in answer)
    return [(error.path, error.problem, error.remedy) for error in answer]


def _stage(rest: str) -> str:
    """Write an application whose only stage has more in it."""
    text = HEAD.format(kind="Application")
    text += "spec:\n  source: {repoURL: https://git.example/it.git, branch: main}\n"
    return f"{text}  stages:\n    - {STAGE}, {rest}}}\n"


def _spec(kind: str, spec: str) -> str:
    return HEAD.format(kind=kind) + f"spec: {{{spec}}}\n"


def _parsed(text: str, kind: str = "Application") -> Parsed:
    answer = parse_file(FILE, kind, text.encode())
    assert isinstance(answer, Parsed), [str(error) for error in answer]
    return answer


def _application(text: str) -> ApplicationSpec:
    value = _parsed(text).value
    assert isinstance(value, ApplicationSpec)
    return value


def test_every_field_of_a_stage_is_read() -> None:
    """What is written is what the engine gets."""
    stage = _application(
        _stage(
            "namespaces: [monitoring], clusterScoped: [ClusterRole, ClusterRole/a:b.c], "
            "branch: hotfix, "
            "upstream: {stage: dev, match: images},"
            "serviceAccount: deployer, mode: observe,"
            "health: {timeout: 1m, unschedulableGrace: 0s},"
            "verify: [{http: {name: smoke, url: 'http://10.0.0.1:80/x', method: HEAD, status: 204,"
            "headers: {X-Probe: a}, bodyContains: b, within: 2m, timeout: 3s, successes: 4,"
            "maxLatency: 500ms, followRedirects: true, maxBodyBytes: 5, jsonPath: {a.b: null}}},"
            "{http: {service: api, port: 80, namespace: other, scheme: https, path: '/h?x=1'}}],"
            "gates: [{approval: {from: ['user:alex', 'group:ops'], count: 2, deadline: 1h30m}}],"
            "rollback: {policy: manual, deadline: 180s, certify: 30s}, certify: 60s, watch: 30m,"
            "monitor: {every: 5m, verify: [{http: {name: rules, service: api, port: http}}]},"
            "prune: {objects: 3, share: 1}, imageGrace: 2m"
        )
    ).stages[0]
    assert stage.namespaces == ("monitoring",)
    assert stage.cluster_scoped == ("ClusterRole", "ClusterRole/a:b.c")
    assert stage.ref == "refs/heads/hotfix"
    assert stage.upstream == UpstreamSpec(StageName("dev"), UpstreamMatch.IMAGES)
    assert stage.service_account == "deployer"
    assert stage.mode is StageMode.OBSERVE
    assert (stage.health_timeout, stage.unschedulable_grace) == (
        timedelta(minutes=1),
        timedelta(0),
    )
    direct, proxied = stage.verify
    assert direct == HttpCheck(
        name="smoke",
        url="http://10.0.0.1:80/x",
        method="HEAD",
        headers={"X-Probe": "a"},
        status=204,
        json_path={"a.b": None},
        body_contains="b",
        within=timedelta(minutes=2),
        timeout=timedelta(seconds=3),
        successes=4,
        max_latency=timedelta(milliseconds=500),
        follow_redirects=True,
        max_body_bytes=5,
    )
    assert proxied == HttpCheck(
        name="api/h?x=1",
        service="api",
        port="80",
        namespace="other",
        scheme="https",
        path="/h?x=1",
    )
    assert stage.gates == (ApprovalGate(("user:alex", "group:ops"), 2, timedelta(minutes=90)),)
    assert stage.rollback_policy is RollbackPolicy.MANUAL
    assert stage.rollback_deadline == timedelta(minutes=3)
    assert (stage.certify, stage.watch) == (timedelta(minutes=1), timedelta(minutes=30))
    assert stage.rollback_certify == timedelta(seconds=30)
    rules = HttpCheck(name="rules", service="api", port="http")
    assert stage.monitor == MonitorSpec(timedelta(minutes=5), (rules,))
    assert stage.prune_limits == PruneLimits(3, 1.0)
    assert stage.image_grace == timedelta(minutes=2)


def test_little_is_enough() -> None:
    """What is left out has the defaults of the domain."""
    application = _application(_stage("after: []"))
    assert application.source.ref == "refs/heads/main"
    assert application.stages[0] == replace(
        application.stages[0],
        verify=(),
        gates=(),
        ref=None,
        mode=StageMode.APPLY,
        certify=timedelta(0),
        watch=timedelta(0),
        prune_limits=PruneLimits(),
        health_timeout=timedelta(minutes=5),
        rollback_deadline=timedelta(minutes=5),
        unschedulable_grace=timedelta(seconds=15),
    )


@pytest.mark.parametrize(
    "tags, ref",
    [
        ("'v*'", "refs/tags/v*"),
        ("{pattern: 'v*'}", "refs/tags/v*"),
        ("stable", "refs/tags/stable"),
        ("{semver: '>=1.4 <2'}", "refs/tags/*:>=1.4_<2"),
        ("{semver: ^1, pattern: api/v*}", "refs/tags/api/v*:^1"),
    ],
)
def test_tags_are_followed_like_a_branch(tags: str, ref: str) -> None:
    """By an application, and by a stage of its own."""
    own = _application(_stage(f"tags: {tags}"))
    assert own.stages[0].ref == ref
    text = _stage("mode: apply").replace("branch: main", f"tags: {tags}")
    assert _application(text).source.ref == ref


@pytest.mark.parametrize("source", ["rewind: hold", "branch: main, tags: v*"])
def test_a_source_follows_one_thing(source: str) -> None:
    """A branch or tags, and a stage of its own as well."""
    text = _stage("mode: apply").replace("branch: main", source)
    assert _problems(text) == [
        ("spec.source", "a source follows either a branch or tags",
         'Write `branch: main`, or `tags: "v*"`, or `tags: {semver: ">=1"}`'),
    ]  # fmt: skip
    assert _problems(_stage("branch: a, tags: b")) == [
        ("spec.stages[0]", "a stage follows either a branch or tags", "Remove one of the two")
    ]


def test_soak_is_read() -> None:
    """``for`` and ``stage`` make a soak gate."""
    stage = _application(_stage("gates: [{soak: {stage: dev, for: 10m}}]")).stages[0]
    assert stage.gates == (SoakGate(StageName("dev"), timedelta(minutes=10)),)


def test_a_manual_gate_is_read() -> None:
    """``from`` says who may name a release."""
    stage = _application(_stage("gates: [{manual: {from: ['group:ops', 'user:ana']}}]")).stages[0]
    assert stage.gates == (ManualGate(("group:ops", "user:ana")),)
    assert _problems(_stage("gates: [{manual: {}}]")) == [
        (
            "spec.stages[0].gates[0].manual.from",
            "it is missing",
            "Write `from: ...` (Who may name a release)",
        )
    ]


def test_the_digest_is_of_the_content() -> None:
    """Comments and order make no new revision; a value does."""
    one = _application(_stage("mode: apply"))
    two = _application("# a comment\n" + _stage("mode:   apply"))
    other = _application(_stage("mode: observe"))
    assert one.digest == two.digest != other.digest
    assert one.digest.startswith("sha256:")
    assert one.file == FILE


@pytest.mark.parametrize(
    "rest, path, problem, remedy",
    [
        ("healht: {}", "healht", "unknown key `healht`", "Did you mean `health`?"),
        ("service_account: a", "service_account", "unknown key `service_account`",
         "Did you mean `serviceAccount`?"),
        ("<<: {health: {}}", "<<", "merge keys (`<<`) are not read",
         "Write the keys out; a value can be named with `&name` and repeated with `*name`"),
        ("health: {zzz: 1}", "health.zzz", "unknown key `zzz`",
         "Known here: `timeout`, `unschedulableGrace`"),
        ("after: staging", "after", "it is 'staging', expected a list",
         "Write a list: one entry a line, each after a dash"),
        ("after: [1]", "after[0]", "it is the number 1, expected text",
         'Write it as text, in quotes if it looks like a number: "1.10"'),
        ("mode: applies", "mode", "it is 'applies', expected `apply` or `observe`",
         "Did you mean `apply`?"),
        ("health: 5m", "health", "it is '5m', expected a mapping",
         "Write `key: value` lines, indented"),
        ("health: {timeout: 60}", "health.timeout", "60 has no unit",
         "Write `60s`, or `60m` for minutes"),
        ("health: {timeout: true}", "health.timeout", "this is no duration",
         "Write for example `30s`, `5m` or `1h30m`"),
        ("health: {timeout: ''}", "health.timeout", "this is no duration",
         "Write for example `30s`, `5m` or `1h30m`"),
        ("health: {timeout: 5 m}", "health.timeout", "this is no duration",
         "Write for example `30s`, `5m` or `1h30m`"),
        ("health: {timeout: 0s}", "health.timeout", "the duration is zero",
         "Write for example `30s` or `5m`"),
        ("watch: 400d", "watch", "400d is longer than a year", "Write at most `365d`"),
        ("clusterScoped: [clusterrole]", "clusterScoped[0]", "'clusterrole' is no kind",
         "Write a kind such as `ClusterRole`, or one object of it: `ClusterRole/reader`"),
        ("clusterScoped: [ClusterRole/]", "clusterScoped[0]", "'ClusterRole/' is no kind",
         "Write a kind such as `ClusterRole`, or one object of it: `ClusterRole/reader`"),
        ("namespaces: [A]", "namespaces[0]", "'A' is no name",
         "Write lower-case letters, digits and dashes, at most 63, such as `ai-core`"),
        (f"namespaces: [{'a' * 64}]", "namespaces[0]", "name is longer than 63 characters",
         "Write lower-case letters, digits and dashes, at most 63, such as `ai-core`"),
        ("branch: 'a b'", "branch", "'a b' is no branch name", "Write for example `main`"),
        ("branch: refs/heads/a", "branch", "'refs/heads/a' is a full ref",
         "Write the branch alone, such as `main`"),
        ("tags: 'a b'", "tags.pattern", "'a b' is no pattern of tags",
         "Write a tag's name, `*` for any signs and `?` for one, such as `v*`"),
        ("tags: 'a[b]'", "tags.pattern", "'a[b]' is no pattern of tags",
         "Write a tag's name, `*` for any signs and `?` for one, such as `v*`"),
        ("tags: refs/tags/v*", "tags.pattern", "'refs/tags/v*' is no pattern of tags",
         "Write a tag's name, `*` for any signs and `?` for one, such as `v*`"),
        ("tags: {}", "tags", "it says nothing about tags",
         'Write `tags: "v*"`, or `tags: {semver: ">=1"}`'),
        ("tags: {semver: new}", "tags.semver", "this is no range of versions: 'new' is no version",
         "Write for example `>=1.4 <2` or `^1.4`"),
        ("tags: 7", "tags", "it is the number 7, expected a mapping",
         "Write `key: value` lines, indented"),
        ("upstream: {stage: dev, match: release}", "upstream.match",
         "it is 'release', expected `images`", "Write `images`"),
        ("upstream: {stage: dev}", "upstream.match", "it is missing",
         "Write `match: images` (What has to be verified there: every image, by its digest)"),
        ("upstream: dev", "upstream", "it is 'dev', expected a mapping",
         "Write `key: value` lines, indented"),
        ("prune: {objects: -1}", "prune.objects",
         "the value should be greater than or equal to 0", "Write a value within this bound"),
        ("prune: {objects: 1.5}", "prune.objects", "it is the number 1.5, expected a whole number",
         "Write a whole number without quotes"),
        ("prune: {share: a}", "prune.share", "it is 'a', expected a number",
         "Write a number without quotes"),
        ("verify: [{}]", "verify[0]", "an entry of verify is one check",
         ("Write one kind, such as `http:`, and what it asks, and each check as its own "
         "entry; `gitopsd schema Application` lists the kinds")),
        ("verify: [{http: {}}]", "verify[0].http", "a check asks either a service or a url",
         "Write `service: NAME` with `port:`, or `url: https://...`"),
        ("verify: [{http: {service: a}}]", "verify[0].http", "`port` is missing",
         "Write the service's port, such as `port: http`"),
        ("verify: [{http: {url: 'http://h/', path: /x, scheme: http}}]", "verify[0].http",
         "`path` does not go with `url`", "Write it as a part of the url"),
        ("verify: [{http: {service: a, port: 0}}]", "verify[0].http.port",
         "this is no port of a service",
         "Write its name, such as `http`, or its number, such as `80`"),
        ("verify: [{http: {service: a, port: A_B}}]", "verify[0].http.port",
         "this is no port of a service",
         "Write its name, such as `http`, or its number, such as `80`"),
        ("verify: [{http: {service: a, port: true}}]", "verify[0].http.port",
         "this is no port of a service",
         "Write its name, such as `http`, or its number, such as `80`"),
        ("verify: [{http: {url: 'ftp://h/'}}]", "verify[0].http.url",
         "this is no http or https address", "Write for example `https://host/path`"),
        ("verify: [{http: {url: 'http://[::1/'}}]", "verify[0].http.url",
         "this is no http or https address", "Write for example `https://host/path`"),
        ("verify: [{http: {url: 'http://a:b@h/'}}]", "verify[0].http.url",
         "the address holds credentials", "Write the address without them"),
        ("verify: [{http: {service: a, port: http, path: x}}]", "verify[0].http.path",
         "'x' is no request path", "Write a path such as `/health`"),
        ("verify: [{http: {service: a, port: http, status: '200'}}]", "verify[0].http.status",
         "it is '200', expected a whole number", "Write a whole number without quotes"),
        ("verify: [{http: {service: a, port: http, jsonPath: {a..b: 1}}}]",
         "verify[0].http.jsonPath.a..b", "'a..b' is no path such as status or items[0].name",
         "Write keys with dots between them"),
        ("verify: [{http: {service: a, port: http, jsonPath: {'': 1}}}]",
         "verify[0].http.jsonPath.", "the path is empty", "Write keys with dots between them"),
        ("verify: [{http: {service: a, port: http, jsonPath: {a: [1]}}}]",
         "verify[0].http.jsonPath.a", "a list or mapping is no single value",
         "Name the value inside it by its path"),
        ("verify: [{http: {service: a, port: http, headers: {Authorization: x}}}]",
         "verify[0].http.headers.Authorization",
         "header Authorization would put a secret into the configuration",
         "Check an address that needs no login; logins in checks are not supported yet"),
        ("verify: [{http: {service: a, port: http, headers: {'a b': x}}}]",
         "verify[0].http.headers.a b", "'a b' is no header name", "Write a name such as `X-Probe`"),
        ('verify: [{http: {service: a, port: http, headers: {a: "b\\nc"}}}]',
         "verify[0].http.headers.a", "the header holds a control character",
         "Write one printable line"),
        ("verify: [{http: {service: a, port: http, followRedirects: 'yes'}}]",
         "verify[0].http.followRedirects", "it is 'yes', expected true or false",
         "Write `true` or `false` without quotes"),
        ("gates: [{}]", "gates[0]", "an entry of gates is one gate",
         ("Write one kind, such as `approval:`, and each gate as its own entry; "
         "`gitopsd schema Application` lists the kinds")),
        ("gates: [{approval: {from: [ops]}}]", "gates[0].approval.from[0]", "'ops' is no subject",
         "Write `group:NAME` or `user:SUBJECT`"),
        ("gates: [{approval: {}}]", "gates[0].approval.from", "it is missing",
         "Write `from: ...` (Who may vote)"),
    ],
)  # fmt: skip
def test_mistakes_in_a_stage_are_explained(rest: str, path: str, problem: str, remedy: str) -> None:
    """Each mistake names its place, what is wrong, and what to write instead."""
    assert _problems(_stage(rest)) == [(f"spec.stages[0].{path}", problem, remedy)]


@pytest.mark.parametrize(
    "rest, path, key",
    [
        ("drift: {policy: report}", "drift", "drift"),
    ],
)
def test_what_is_to_come_is_refused_by_name(rest: str, path: str, key: str) -> None:
    """A key of a later version is never ignored silently."""
    [(place, problem, remedy)] = _problems(_stage(rest))
    assert (place, problem) == (f"spec.stages[0].{path}", f"`{key}` is not supported yet")
    assert remedy


@pytest.mark.parametrize(
    "kind, spec, path, problem",
    [
        ("Channel", "type: teams, url: 'https://h/', secretFile: s, subscriptions: [{}]",
         "spec.type", "`teams` is not supported yet"),
        ("Channel", "type: pigeon, url: 'https://h/', secretFile: s, subscriptions: [{}]",
         "spec.type", "it is 'pigeon', expected `webhook` or `slack` or `github`"),
        ("Channel", "type: webhook, url: 'https://h/', subscriptions: [{}]", "spec",
         "a webhook channel needs `secretFile`"),
        ("Channel", ("type: slack, url: 'https://h/', tokenFile: t, conversation: C0123456789,"
         " subscriptions: [{}]"), "spec", "a slack channel has no `url`"),
        ("Channel", "type: slack, tokenFile: t, subscriptions: [{}]", "spec",
         "a slack channel needs `conversation`"),
        ("Channel", "type: slack, tokenFile: t, conversation: '#deploys', subscriptions: [{}]",
         "spec.conversation", "'#deploys' is no id of a conversation"),
        ("Channel", ("type: slack, tokenFile: t, conversation: C0123456789,"
         " subscriptions: [{triggers: [on-lunch]}]"), "spec.subscriptions[0].triggers[0]",
         ("it is 'on-lunch', expected `on-release-created` or `on-run-started` or"
         " `on-run-aborted` or `on-run-errored` or"
         " `on-approval-requested` or `on-deployed` or `on-verification-failed` or"
         " `on-health-degraded` or `on-promoted` or `on-rollback-started` or"
         " `on-rollback-succeeded` or `on-rollback-failed` or `on-git-agrees` or"
         " `on-git-disagrees` or `on-drift-detected` or"
         " `on-frozen` or `on-stalled`")),
        ("Channel", "type: github, subscriptions: [{}]", "spec",
         "a github channel signs in with `tokenFile` or with `app`, one of the two"),
        ("Channel", "type: github, tokenFile: t, app: {id: 1, keyFile: k}, subscriptions: [{}]",
         "spec", "a github channel signs in with `tokenFile` or with `app`, one of the two"),
        ("Channel", "type: github, tokenFile: t, conversation: C0123456789, subscriptions: [{}]",
         "spec", "a github channel has no `conversation`"),
        ("Channel", "type: github, tokenFile: t, repository: acme, subscriptions: [{}]",
         "spec.repository", "'acme' is no repository"),
        ("Channel", "type: github, app: {id: 'a b', keyFile: k}, subscriptions: [{}]",
         "spec.app.id", "'a b' is no id"),
        ("Channel", "type: github, app: {id: 12}, subscriptions: [{}]",
         "spec.app.keyFile", "it is missing"),
        ("Channel", "type: webhook, url: 'https://h/', secretFile: s, subscriptions: []",
         "spec.subscriptions", "List should have at least 1 item after validation, not 0"),
        ("Receiver", "type: gitlab, secretFiles: [s]", "spec.type",
         "`gitlab` is not supported yet"),
        ("Receiver", "type: github, secretFiles: []", "spec.secretFiles",
         "List should have at least 1 item after validation, not 0"),
        ("Receiver", "type: github, secretFiles: ['']", "spec.secretFiles[0]",
         "this is no file name"),
        ("Receiver", "type: github", "spec.secretFiles", "it is missing"),
        ("Project", "labels: {a: b}, registries: [x]", "spec.registries",
         "`registries` is not supported yet"),
        ("Project", "labels: {}", "spec.labels",
         "Dictionary should have at least 1 item after validation, not 0"),
        ("Repository", "urlPrefix: https://h/, sshKeyFile: k", "spec",
         "`sshKeyFile` without `knownHostsFile`: no SSH host would be accepted"),
        ("Cluster", "inCluster: false", "spec", "a cluster is reached in one way, 0 are given"),
        ("Cluster", "inCluster: true, kubeconfig: f", "spec",
         "a cluster is reached in one way, 2 are given"),
        ("Cluster", "server: 'https://h:6443', tokenFile: t", "spec",
         "`server` needs `tokenFile` and `caFile`"),
        ("Cluster", "inCluster: true, caFile: t", "spec",
         "`tokenFile` and `caFile` go with `server`"),
        ("Cluster", "inCluster: true, context: c", "spec", "`context` goes with `kubeconfig`"),
        ("People", "persons: [{subject: a, slack: U1}]", "spec.persons[0].slack",
         "`slack` is not supported yet"),
        ("People", "bindings: [{role: owner, subjects: ['user:a']}]", "spec.bindings[0].role",
         "it is 'owner', expected `viewer` or `deployer` or `approver` or `skip-gate` or `admin`"),
    ],
)  # fmt: skip
def test_mistakes_in_other_kinds_are_explained(
    kind: str, spec: str, path: str, problem: str
) -> None:
    """Connections, receivers, channels, projects and people as well."""
    assert [(where, what) for where, what, _ in _problems(_spec(kind, spec), kind)] == [
        (path, problem)
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "inCluster: true",
        "kubeconfig: f, context: c",
        "server: 'https://h', tokenFile: t, caFile: c, inventoryNamespace: n, rollout: {budget: 3}",
    ],
)
def test_each_way_to_a_cluster_is_read(spec: str) -> None:
    """In the cluster, by kubeconfig, or by address."""
    value = _parsed(_spec("Cluster", spec), "Cluster").value
    assert isinstance(value, ClusterSpec)
    assert value.name == "it"


@pytest.mark.parametrize(
    "url, problem",
    [
        ("https://bot:pw@git.example/a", "the address holds a password"),
        ("team/app", "'team/app' is no repository address"),
        ("", "'' is no repository address"),
        ("https://bot:pw@[::1/a", "'[::1/a' is no repository address"),
    ],
)
def test_repository_addresses_hold_no_passwords(url: str, problem: str) -> None:
    """A password in an address is refused, and not repeated."""
    text = _stage("mode: apply").replace("https://git.example/it.git", f"'{url}'")
    [(path, found, remedy)] = _problems(text)
    assert (path, found) == ("spec.source.repoURL", problem)
    assert "pw" not in found + remedy


@pytest.mark.parametrize("path", ["/etc", "../a", "a/../b", "", "a\\b"])
def test_overlay_paths_stay_inside(path: str) -> None:
    """An overlay lies in the repository."""
    text = _stage("mode: apply").replace("overlays/staging", f"'{path}'")
    [(place, problem, _)] = _problems(text)
    assert place == "spec.stages[0].path"
    assert problem.endswith(" is no path inside the repository")


def test_missing_keys_say_what_to_write() -> None:
    """An example and the meaning of the key stand in the remedy."""
    text = HEAD.format(kind="Application") + "spec: {source: {}, stages: [{name: a}]}\n"
    assert _problems(text) == [
        ("spec.source.repoURL", "it is missing",
         "Write `repoURL: https://git.example/team/app.git` (Repository address)"),
        ("spec.stages[0].cluster", "it is missing",
         "Write `cluster: staging` (Name of a file in clusters/)"),
        ("spec.stages[0].path", "it is missing",
         "Write `path: overlays/staging` (Overlay directory in the repository)"),
        ("spec.stages[0].namespace", "it is missing",
         "Write `namespace: ai-core` (Namespace it writes to)"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, path, problem",
    [
        ("", "", "the file holds nothing, expected one object"),
        ("null", "", "the file holds nothing, expected one object"),
        ("[1]", "", "the file holds no mapping, expected one object"),
        ("a: 1\n---\nb: 2\n", "", "the file holds 2 documents, expected one object"),
        ("a: 1\na: 2\n", "", 'this is no YAML: duplicate entry with key "a"'),
        ("spec: {}", "kind", "it is missing"),
        ("kind: Cluster", "kind", "Cluster does not belong here, expected Application"),
        ("kind: People", "kind", "People does not belong here, expected Application"),
        ("kind: application", "kind", "unknown kind 'application', expected Application"),
        ("kind: [1]", "kind", "unknown kind '[1]', expected Application"),
    ],
)
def test_other_files_are_explained(text: str, path: str, problem: str) -> None:
    """A file that holds something else says so once, not key by key."""
    assert [(where, what) for where, what, _ in _problems(text)] == [(path, problem)]


HOSTILE = {
    "deep lists": b"[" * 25_600,
    "deep mappings": b"{a: " * 25_600,
    "alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    ),
    "no UTF-8": b"a: \xff",
    "a tag that would run": b"!!python/object/apply:os.system ['true']",
    "a list as key": b"? [a]\n: 1",
    "a huge number": b"a: " + b"9" * 100_000,
    "control characters": b"a: \x00",
    "too long": b"#" * 1_048_577,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_end_as_a_sentence(body: bytes) -> None:
    """No file crashes the service or runs anything."""
    answer = parse_file(FILE, "Application", body)
    assert not isinstance(answer, Parsed)
    assert all(len(error.message) < 600 for error in answer)


@pytest.mark.parametrize("text", ["500ms", "1s", "90s", "5m", "90m", "24h", "7d", "0s", "1500ms"])
def test_durations_are_written_as_they_are_read(text: str) -> None:
    """Reading and writing a duration are inverse, up to the choice of units."""
    duration = parse_duration(text)
    assert parse_duration(format_duration(duration)) == duration
    assert parse_duration(duration) is duration


def test_durations_add_up() -> None:
    """Units may follow each other, the largest first."""
    assert parse_duration("1d2h3m4s5ms") == timedelta(
        days=1, hours=2, minutes=3, seconds=4, milliseconds=5
    )
    assert format_duration(timedelta(hours=36)) == "36h"


@pytest.mark.parametrize(
    "spec, expected",
    [
        (
            "type: slack, tokenFile: t, conversation: C0123456789, subscriptions: [{}]",
            ChannelSpec(
                "it",
                ChannelType.SLACK,
                subscriptions=(Subscription(),),
                token_file="t",
                conversation="C0123456789",
            ),
        ),
        (
            (
                "type: github, app: {id: 12, keyFile: k, installation: '34'}, repository: a/shop,"
                " subscriptions: [{triggers: [on-deployed], applications: [shop], labels: {a: b}}]"
            ),
            ChannelSpec(
                "it",
                ChannelType.GITHUB,
                subscriptions=(Subscription(("on-deployed",), ("shop",), {"a": "b"}),),
                repository="a/shop",
                app_id="12",
                key_file="k",
                installation_id="34",
            ),
        ),
    ],
)
def test_channels_of_each_type_are_read(spec: str, expected: ChannelSpec) -> None:
    """What goes with the type is taken as it stands; ids may be written as numbers."""
    assert _parsed(_spec("Channel", spec), "Channel").value == expected


def test_people_are_read_with_all_that_they_sign_with() -> None:
    """Addresses, the login at GitHub, groups; and a role for whoever may skip gates."""
    spec = (
        "persons: [{subject: ana, emails: [ana@a.example], github: ana-gh, groups: [ops]}],"
        " bindings: [{role: skip-gate, subjects: ['group:ops']}]"
    )
    assert _parsed(_spec("People", spec), "People").value == People(
        (Person("ana", ("ana@a.example",), ("ops",), "ana-gh"),),
        (RoleBinding("skip-gate", ("group:ops",)),),
    )


def test_a_channel_may_subscribe_to_whatever_is_told() -> None:
    """There is no trigger whose name makes a file invalid."""
    assert set(get_args(KnownTrigger)) == {trigger.value for trigger in Trigger}
