"""What the tables of the verbs that look have in their columns."""

from __future__ import annotations

from gitopsd.cli.client import Document
from gitopsd.cli.printing import Column, show_time


def _release_of(stage: Document) -> object:
    applied = stage["applied"]
    if applied is None or applied["release"] is None:
        return ""
    return applied["release"]["alias"] or applied["release"]["id"]


def _commit_of(stage: Document) -> str:
    applied = stage["applied"]
    if applied is None or applied["release"] is None:
        return ""
    return str(applied["release"]["commit"]["sha"])[:12]


_CONDITIONS = (
    ("stalled", "Stalled"),
    ("frozen", "Frozen"),
    ("suspended", "Suspended"),
    ("hold", "Held"),
)


def _state_of(stage: Document) -> str:
    """Say what stands in a stage's way, or what it does."""
    if stage["retiredAt"]:
        return "Retired"
    for field, word in _CONDITIONS:
        if stage.get(field):
            return word
    run = stage["front"] or stage["next"]
    return f"{run['kind']} {run['step'] or run['phase']}" if run else ""


STAGES = (
    Column("application", lambda row: row["application"]),
    Column("stage", lambda row: row["name"]),
    Column("release", _release_of),
    Column("commit", _commit_of),
    Column("health", lambda row: row["health"]),
    Column("sync", lambda row: row["sync"]),
    Column("state", _state_of),
    Column("cluster", lambda row: row["cluster"], wide=True),
    Column("namespace", lambda row: row["namespace"], wide=True),
    Column("observed", lambda row: show_time(row["observedAt"]), wide=True),
    Column("message", lambda row: row["message"], wide=True),
)
QUEUE = (
    Column("position", lambda row: row["position"] or "-"),
    Column("release", lambda row: row["alias"] or row["release"]),
    Column("place", lambda row: row["place"]),
    Column("run", lambda row: row["run"], wide=True),
    Column("why", lambda row: row["reason"]),
)
RUNS = (
    Column("run", lambda row: row["id"]),
    Column("stage", lambda row: row["stage"]),
    Column("kind", lambda row: row["kind"]),
    Column("release", lambda row: row["alias"] or row["release"]),
    Column("commit", lambda row: row["commit"][:12]),
    Column("id", lambda row: row["release"], wide=True),
    Column("phase", lambda row: row["phase"]),
    Column("step", lambda row: row["step"]),
    Column("offer", lambda row: row["offer"]),
    Column("created", lambda row: show_time(row["createdAt"])),
    Column("ended", lambda row: show_time(row["endedAt"]), wide=True),
    Column("by", lambda row: row["requestedBy"], wide=True),
    Column("why", lambda row: row["message"] or row["waitingFor"]),
)


def say_offers(release: Document) -> str:
    """Say how a release was offered last: ``Rewound``; with the ref where lines differ."""
    kinds = {offer["kind"] for offer in release["offers"]}
    if len(kinds) < 2:  # noqa: PLR2004 - several kinds need their lines to be told apart
        return "".join(kinds)
    return ", ".join(f"{offer['kind']} ({offer['ref']})" for offer in release["offers"])


RELEASES = (
    Column("release", lambda row: row["id"]),
    Column("alias", lambda row: row["alias"]),
    Column("commit", lambda row: row["commit"]["sha"][:12]),
    Column("author", lambda row: row["commit"]["author"], wide=True),
    Column("created", lambda row: show_time(row["createdAt"])),
    Column("offer", say_offers),
    Column("subject", lambda row: row["commit"]["subject"]),
)
APPROVALS = (
    Column("run", lambda row: row["run"]),
    Column("decision", lambda row: row["decision"]),
    Column("by", lambda row: row["subject"]),
    Column("at", lambda row: show_time(row["at"])),
    Column("void", lambda row: show_time(row["voidAt"])),
    Column("plan", lambda row: row["plan"], wide=True),
    Column("reason", lambda row: row["reason"]),
)
QUARANTINES = (
    Column("quarantine", lambda row: row["id"]),
    Column("application", lambda row: row["application"]),
    Column("stage", lambda row: row["stage"]),
    Column("release", lambda row: row["release"]),
    Column("since", lambda row: show_time(row["at"])),
    Column("lifted", lambda row: show_time(row["liftedAt"])),
    Column("rendered", lambda row: row["rendered"], wide=True),
    Column("reason", lambda row: row["reason"]),
)
FREEZES = (
    Column("freeze", lambda row: row["id"]),
    Column("scope", lambda row: row["scope"]),
    Column("by", lambda row: row["by"]),
    Column("since", lambda row: show_time(row["at"])),
    Column("until", lambda row: show_time(row["until"])),
    Column("in force", lambda row: "yes" if row["inForce"] else "no"),
    Column("reason", lambda row: row["reason"]),
)
DELIVERIES = (
    Column("delivery", lambda row: row["id"]),
    Column("receiver", lambda row: row["receiver"]),
    Column("received", lambda row: show_time(row["receivedAt"])),
    Column("state", lambda row: row["state"]),
    Column("key", lambda row: row["key"], wide=True),
    Column("reason", lambda row: row["reason"]),
)
AUDIT = (
    Column("number", lambda row: row["sequence"]),
    Column("at", lambda row: show_time(row["at"])),
    Column("subject", lambda row: row["subject"]),
    Column("action", lambda row: row["action"]),
    Column("target", lambda row: row["target"]),
    Column("outcome", lambda row: row["outcome"]),
)
TOKENS = (
    Column("token", lambda row: row["id"]),
    Column("subject", lambda row: row["subject"]),
    Column("role", lambda row: row["role"]),
    Column("groups", lambda row: ",".join(row["groups"])),
    Column("applications", lambda row: ",".join(row["applications"]) or "*"),
    Column("expires", lambda row: show_time(row["expiresAt"])),
    Column("revoked", lambda row: show_time(row["revokedAt"])),
    Column("last used", lambda row: show_time(row["lastUsedAt"]), wide=True),
)
CHANNELS = (
    Column("channel", lambda row: row["name"]),
    Column("type", lambda row: row["type"]),
    Column("state", lambda row: "trouble" if row["problem"] else "works"),
    Column("since", lambda row: show_time(row["since"])),
    Column("given up", lambda row: row["dropped"]),
    Column("last given up", lambda row: show_time(row["droppedAt"]), wide=True),
    Column("why given up", lambda row: row["droppedWhy"], wide=True),
    Column("problem", lambda row: row["problem"]),
)
IMAGES = (
    Column("application", lambda row: row["application"]),
    Column("image", lambda row: row["name"]),
    Column("policy", lambda row: row["policy"]),
    Column("group", lambda row: row["group"]),
    Column("released", lambda row: row["tag"] or ("" if row["digest"] else "nothing yet")),
    Column("digest", lambda row: row["digest"], wide=True),
    Column("problem", lambda row: row["problem"]),
)


def list_notes(application: Document) -> list[str]:
    """Say what a table of stages does not: what keeps news of an application from coming.

    Args:
        application: As the API shows it.
    """
    source, images = application["source"], application["images"]
    notes = [f"its file is not used: {problem}" for problem in application["problems"]]
    if source is not None and source["problem"]:
        notes.append(f"Git: {source['problem']}")
    notes += [f"{image['name']}: {image['problem']}" for image in images if image["problem"]]
    return [*notes, *application["waiting"]]
