"""Loads the facts that decisions are made from, inside the deciding transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.gates import Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, Offer, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.stages import Freeze, Stage
from gitopsd.domain.verifications import Destination, RestoreTarget, Verification
from gitopsd.domain.work import Evidence, EvidenceKind, Page
from gitopsd.engine.asking import load_observations
from gitopsd.engine.dependency_facts import load_dependencies
from gitopsd.engine.effects import destination_of, fronts_on_cluster, readable_set
from gitopsd.engine.group_facts import load_group, load_stopped, running_upstream
from gitopsd.engine.people_facts import load_people_facts
from gitopsd.engine.pin_facts import load_pin
from gitopsd.engine.soak_facts import load_soaks
from gitopsd.kube.images import find_digests
from gitopsd.kube.names import strictest_rollback
from gitopsd.pipeline.asking import select_asked
from gitopsd.pipeline.facts import GateFacts, RestoreFacts, SelectionFacts
from gitopsd.pipeline.gate_kinds.votes import counted_votes
from gitopsd.pipeline.pin_files import is_pinned
from gitopsd.pipeline.upstream_images import images_verified_since
from gitopsd.store_ports import Transaction

OFFERS_CONSIDERED = 200
"""Releases of a line that selection looks at; older ones are history."""


VERIFICATIONS_CONSIDERED = 1000
"""Verifications of a stage among which another stage's images are looked for, newest first."""


def newest_verification(
    tx: Transaction, key: StageKey, destination: Destination
) -> Verification | None:
    """Read the stage's newest verification that counts for where it writes now."""
    for item in tx.verifications.page(key):
        if item.revoked_at is None and item.destination == destination:
            return item
    return None


def verified_in(tx: Transaction, key: StageKey) -> Mapping[ReleaseId, datetime]:
    """Read which releases are verified in a stage, and since when."""
    since: dict[ReleaseId, datetime] = {}
    for item in tx.verifications.page(key, OFFERS_CONSIDERED):
        if item.revoked_at is None:
            since[item.release] = item.recorded_at
    return since


def standing_votes(tx: Transaction, run: RunId, plan: Digest | None) -> tuple[Vote, ...]:
    """Read the votes that count for a run's present plan."""
    return tuple(
        vote for vote in tx.votes.of_run(run) if vote.void_at is None and vote.plan == plan
    )


def load_selection_facts(
    tx: Transaction, stage: Stage, application: ApplicationSpec, spec: StageSpec
) -> SelectionFacts:
    """Load everything `select` reads."""
    line = Line(application.name, application.ref_of(spec))
    offers = tuple(tx.releases.offers(line, OFFERS_CONSIDERED))
    running = newest_verification(tx, stage.key, destination_of(spec))
    waiting = tx.runs.get(stage.next) if stage.next is not None else None
    quarantines = tuple(tx.quarantines.in_force(stage.key))
    last_runs = tx.runs.last_rollouts(stage.key)
    return SelectionFacts(
        now=tx.now,
        stage=stage,
        spec=spec,
        offers=offers,
        upstream={
            name: frozenset(verified_in(tx, StageKey(application.name, name)))
            for name in spec.after
        },
        renderings=tx.releases.renderings(stage.key),
        release_images=_images_of(tx, offers) if any(one.images for one in quarantines) else {},
        quarantines=quarantines,
        running=running.release if running is not None else None,
        running_rendered=running.rendered if running is not None else None,
        last_runs=last_runs,
        next_run=waiting,
        next_votes=standing_votes(tx, waiting.id, waiting.plan) if waiting is not None else (),
        front_run=tx.runs.get(stage.front) if stage.front is not None else None,
        upstream_running=running_upstream(tx, application, spec),
        stopped=load_stopped(
            tx, application, spec, offers, last_runs, running.release if running else None
        ),
    )


def count_next_votes(
    tx: Transaction,
    facts: SelectionFacts,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> SelectionFacts:
    """Leave out votes that do not count, or cannot help: they keep no newer release waiting."""
    if facts.next_run is None or not facts.next_votes:
        return facts
    judged = load_gate_facts(tx, facts.next_run, application, spec, config)
    votes = () if judged is None or is_pinned(judged) else counted_votes(judged)
    return replace(facts, next_votes=votes)


def _images_of(tx: Transaction, offers: Sequence[Offer]) -> Mapping[ReleaseId, tuple[Digest, ...]]:
    """Read the images that releases carry; asked for only while an image is in quarantine."""
    releases = tx.releases.get_many(offer.release for offer in offers)
    return {name: tuple(one.images.values()) for name, one in releases.items() if one.images}


def load_gate_facts(
    tx: Transaction,
    run: Run,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> GateFacts | None:
    """Load everything `evaluate_gates` reads; None when the run's release or stage is gone."""
    stage = tx.stages.get(run.stage)
    release = tx.releases.get(run.release)
    if stage is None or release is None:
        return None
    line = Line(application.name, application.ref_of(spec))
    evidence = tx.runs.evidence(run.id)
    deletions, owned = _plan_size(evidence)
    running = newest_verification(tx, run.stage, destination_of(spec))
    offered = tx.releases.last_offer(line, running.release) if running is not None else None
    cluster = config.clusters.get(spec.cluster)
    facts = GateFacts(
        now=tx.now,
        run=run,
        release=release,
        offer=tx.releases.last_offer(line, run.release),
        stage=stage,
        spec=spec,
        front_run=_other_front(tx, stage, run),
        votes=standing_votes(tx, run.id, run.plan),
        freezes=freezes_of(tx, application, spec, config),
        deletions=deletions,
        owned=owned,
        fronts_on_cluster=fronts_on_cluster(tx, spec.cluster),
        cluster_budget=cluster.rollout_budget if cluster is not None else 0,
        failed_with_commit=tx.runs.failed_with_commit(release.commit.sha, spec.name),
        verified_upstream_at=_upstream_since(tx, application, spec, run.release),
        running_offer=offered.number if offered is not None else None,
        rewind=application.source.rewind,
        quarantines=tuple(tx.quarantines.in_force(run.stage)),
        images=_images_in(tx, run),
        observations=load_observations(tx, run) if select_asked(spec.gates) else {},
    )
    facts = load_pin(tx, facts, evidence)
    if spec.upstream is not None:
        facts = _with_upstream(tx, facts, spec.upstream.stage)
    verified = running.release if running is not None else None
    return replace(
        facts,
        soaks=load_soaks(tx, facts),
        dependencies=load_dependencies(tx, facts),
        upstream_running=running_upstream(tx, application, spec),
        group=load_group(tx, application, spec, run.release),
        people=load_people_facts(tx, facts, application, config.people, verified, evidence),
    )


def _with_upstream(tx: Transaction, facts: GateFacts, name: StageName) -> GateFacts:
    """Add which images the run brings, and which of them the stage ``name`` has verified."""
    key = facts.stage.key
    upstream = StageKey(key.application, name)
    rendered = readable_set(tx, facts.run.rendered) if facts.run.rendered is not None else None
    running = newest_verification(tx, key, destination_of(facts.spec))
    facts = replace(
        facts,
        plan_images=find_digests(rendered.objects) if rendered is not None else None,
        upstream_images=_first_verified(
            tx, upstream, tx.verifications.page(upstream, VERIFICATIONS_CONSIDERED)
        ),
        upstream_quarantines=tuple(tx.quarantines.in_force(upstream)),
        running_images=_first_verified(tx, key, (running,) if running is not None else ()),
    )
    since = images_verified_since(facts)
    if since is None:
        return facts
    return replace(facts, verified_upstream_at={**facts.verified_upstream_at, name: since})


def _first_verified(
    tx: Transaction, key: StageKey, verifications: Sequence[Verification]
) -> Mapping[Digest, datetime]:
    """Read the images of verifications, newest first, and when each was verified first."""
    images_of = _rendered_images(tx, key)
    first: dict[Digest, datetime] = {}
    for one in verifications:
        if one.revoked_at is None:
            first.update(dict.fromkeys(images_of.get(one.rendered, ()), one.recorded_at))
    return first


def _other_front(tx: Transaction, stage: Stage, run: Run) -> Run | None:
    if stage.front is None or stage.front == run.id:
        return None
    return tx.runs.get(stage.front)


def _plan_size(evidence: Sequence[Evidence]) -> tuple[int, int]:
    for item in reversed(evidence):
        if item.kind is EvidenceKind.CHANGE_SET and isinstance(item.content, Mapping):
            deletions, owned = item.content.get("deletions", 0), item.content.get("owned", 0)
            return (
                deletions if isinstance(deletions, int) else 0,
                owned if isinstance(owned, int) else 0,
            )
    return 0, 0


def freezes_of(
    tx: Transaction, application: ApplicationSpec, spec: StageSpec, config: Configuration
) -> tuple[Freeze, ...]:
    """Read the freezes in force whose scope covers a stage."""
    scopes = {
        "*",
        f"application:{application.name}",
        f"stage:{application.name}/{spec.name}",
        f"cluster:{spec.cluster}",
    }
    scopes |= {
        f"project:{project.name}"
        for project in config.projects
        if all(application.labels.get(key) == value for key, value in project.labels.items())
    }
    return tuple(item for item in tx.records.freezes(in_force=True) if item.scope in scopes)


def _upstream_since(
    tx: Transaction, application: ApplicationSpec, spec: StageSpec, release: ReleaseId
) -> Mapping[str, datetime]:
    since: dict[str, datetime] = {}
    for name in {other.name for other in application.stages if other.name != spec.name}:
        at = verified_in(tx, StageKey(application.name, name)).get(release)
        if at is not None:
            since[name] = at
    return since


def load_restore_facts(tx: Transaction, run: Run, spec: StageSpec) -> RestoreFacts | None:
    """Load everything `choose_restore` reads; None before the run was rendered."""
    if run.rendered is None:
        return None
    return restore_facts(tx, run.stage, run.rendered, spec, _inherited(tx, run))


def _inherited(tx: Transaction, run: Run) -> RestoreTarget | None:
    """Read what the run that this one took over from would have restored."""
    for earlier in tx.runs.page(Page(20), stage=run.stage):
        if earlier.superseded_by == run.id and earlier.mutated:
            return earlier.restore_target
    return None


def _images_in(tx: Transaction, run: Run) -> tuple[Digest, ...]:
    rendering = tx.releases.renderings(run.stage).get(run.release)
    return rendering.images if rendering is not None else ()


def restore_facts(
    tx: Transaction,
    key: StageKey,
    rendered: Digest,
    spec: StageSpec,
    inherited: RestoreTarget | None = None,
) -> RestoreFacts:
    """Load what a stage could be restored to, should ``rendered`` fail there."""
    return RestoreFacts(
        rendered=rendered,
        destination=destination_of(spec),
        verifications=tuple(tx.verifications.page(key)),
        quarantines=tuple(tx.quarantines.in_force(key)),
        spec=spec,
        stricter=_stricter_policy(tx, rendered),
        inherited=inherited,
        images_of=_rendered_images(tx, key),
    )


def _stricter_policy(tx: Transaction, rendered: Digest) -> str | None:
    """Find the strictest ``gitopsd.io/rollback`` annotation on any rendered object."""
    found = readable_set(tx, rendered)
    policy = strictest_rollback(found.objects) if found is not None else None
    return policy.value if policy is not None else None


def _rendered_images(tx: Transaction, key: StageKey) -> Mapping[Digest, tuple[Digest, ...]]:
    return {item.rendered: item.images for item in tx.releases.renderings(key).values()}
