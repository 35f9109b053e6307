"""Reports as Slack messages, to be read on a phone by somebody who must decide something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gitopsd.adapters.notify.slack_text import (
    Message,
    code,
    context,
    escape,
    link,
    make_message,
    say_duration,
    section,
    sections,
    when,
)
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import (
    ApprovalReport,
    CallReport,
    GroupApprovalReport,
    Outcome,
    ReleaseReport,
    RunReport,
    StageLine,
    Standing,
    StepLine,
)
from gitopsd.domain.runs import Phase

MOST_STAGES = 25
MOST_CHANGES = 15
MOST_OF_GROUP = 5
"""Changes that are shown of each plan of a group."""

MAIN = "main"
"""Key of the piece that a report's other pieces are below."""

_SHA = 8
_MARKS: Mapping[Standing, str] = {
    Standing.WAITING: ":white_circle:",
    Standing.RUNNING: ":large_blue_circle:",
    Standing.HELD: ":raised_hand:",
    Standing.LIVE: ":white_check_mark:",
    Standing.FAILED: ":x:",
    Standing.ERRORED: ":warning:",
    Standing.RESTORING: ":rewind:",
    Standing.RESTORED: ":leftwards_arrow_with_hook:",
    Standing.REJECTED: ":no_entry_sign:",
    Standing.SUPERSEDED: ":fast_forward:",
    Standing.ENDED: ":octagonal_sign:",
    Standing.NOT_REACHED: ":white_circle:",
}
_PHASES: Mapping[Phase, str] = {
    Phase.PENDING: ":white_circle:",
    Phase.RUNNING: ":large_blue_circle:",
    Phase.SUCCEEDED: ":white_check_mark:",
    Phase.FAILED: ":x:",
    Phase.ERRORED: ":warning:",
    Phase.ABORTED: ":octagonal_sign:",
}
_OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    Outcome.WAITING: (":raised_hand:", "Approve?"),
    Outcome.APPROVED: (":white_check_mark:", "Approved:"),
    Outcome.REJECTED: (":no_entry_sign:", "Rejected:"),
    Outcome.EXPIRED: (":hourglass:", "Expired:"),
    Outcome.CHANGED: (":fast_forward:", "Asked anew:"),
    Outcome.ENDED: (":octagonal_sign:", "Not asked any more:"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a report.

    Attributes:
        key: Names it within the report.
        message: What it says now.
        below: Whether it is in the thread of the main piece.
        loud: Whether it is shown in the conversation too, when it is in a thread.
    """

    key: str
    message: Message
    below: bool = False
    loud: bool = False


def write_pieces(
    report: ReleaseReport | ApprovalReport | GroupApprovalReport | CallReport, *, threaded: bool
) -> tuple[Piece, ...]:
    """Write a report's messages, the main one first.

    Args:
        report: How things stand.
        threaded: Whether the report itself belongs below another message.
    """
    match report:
        case ReleaseReport():
            runs = (Piece(f"run:{run.run}", write_run(run), below=True) for run in report.runs)
            return (Piece(MAIN, write_release(report)), *runs)
        case ApprovalReport():
            return (Piece(MAIN, write_approval(report)),)
        case GroupApprovalReport():
            return (Piece(MAIN, write_approvals(report)),)
        case CallReport():
            return (Piece(MAIN, write_call(report), below=threaded, loud=threaded),)


def write_release(report: ReleaseReport) -> Message:
    """Write how a release stands, a line for each stage."""
    name = f"*{escape(report.application)}*  {escape(report.alias or report.release)}"
    subject = escape(report.subject)
    small = context(
        escape(report.author),
        code(report.sha[:_SHA]),
        when(report.at) if report.at is not None else "",
        link(report.link, "details"),
    )
    lines = [_stage_line(line) for line in report.stages[:MOST_STAGES]]
    more = len(report.stages) - MOST_STAGES
    if more > 0:
        lines.append(f"and {more} more stages")
    blocks = (section(f"{name}\n{subject}" if subject else name), *sections(lines), small)
    told = "; ".join(
        f"{escape(line.stage)}: {escape(line.sentence)}" for line in report.stages[:MOST_STAGES]
    )
    title = f"{escape(report.application)} {escape(report.alias or report.release)}"
    return make_message(f"{title}: {told}" if told else title, blocks)


def write_run(report: RunReport) -> Message:
    """Write a run's steps."""
    what = f"{report.kind.value} of {escape(report.alias)}"
    title = f"{_PHASES[report.phase]}  *{escape(report.stage)}*  {what}"
    lines = [_step_line(step) for step in report.steps]
    if report.sentence:
        lines.append(escape(report.sentence))
    small = context(code(report.run), link(report.link, "details"))
    text = f"{escape(report.stage)}: {what}: {report.phase.value}"
    return make_message(text, (section(title), *sections(lines), small))


def write_approval(report: ApprovalReport) -> Message:
    """Write what somebody must know to approve, or what became of it."""
    mark, verb = _OUTCOMES[report.outcome]
    where = f"{escape(report.application)} to {escape(report.stage)}"
    waits = report.outcome is Outcome.WAITING
    title = f"{mark}  *{verb} {where}*"
    if report.sentence:
        title += f"\n{escape(report.sentence)}"
    if report.at is not None:
        title += f", {when(report.at)}"
    who = f"{escape(report.alias)}: {escape(report.subject)}".rstrip(": ")
    blocks: list[JsonObject] = [
        section(title),
        section(
            f"*{who}*\nby {escape(report.author) or 'an unknown author'}, "
            f"commit {code(report.sha[:_SHA])}"
        ),
        section("\n".join(_facts(report, waits=waits))),
        *sections(_changes(report)),
    ]
    which = f"{report.run} --plan {report.plan}"  # what was read, and nothing that came since
    command = f"gitopsd approve {which}"
    if waits:
        blocks.append(section(f"To approve:\n```{escape(command)}```"))
        blocks.append(section(f"To refuse:\n```{escape(f'gitopsd reject {which}')}```"))
    blocks.append(context(code(report.run), link(report.link, "details")))
    text = f"{verb} {where}: {who} by {escape(report.author)}. {_count(report)}."
    text += f" {escape(command)}" if waits else f" {escape(report.sentence)}"
    return make_message(text, blocks)


def write_approvals(report: GroupApprovalReport) -> Message:
    """Write what somebody must know to approve for a group, or what became of it in each stage."""
    first = next((one for one in report.plans if _waits(one)), report.plans[0])
    asked = [one for one in report.plans if _waits(one)]
    place = f"group {escape(report.group)} of {escape(report.application)}"
    who = f"{escape(first.alias)}: {escape(first.subject)}".rstrip(": ")
    if asked:
        title = f":raised_hand:  *Approve? {place}: {_plans(len(asked))}*"
    else:
        outcomes = {one.outcome for one in report.plans}
        mark, verb = _OUTCOMES[outcomes.pop() if len(outcomes) == 1 else Outcome.ENDED]
        title = f"{mark}  *{verb} {place}*"
    blocks: list[JsonObject] = [
        section(title),
        section(
            f"*{who}*\nby {escape(first.author) or 'an unknown author'}, "
            f"commit {code(first.sha[:_SHA])}"
        ),
    ]
    if asked:
        blocks.append(section("\n".join(_asked_of(asked))))
    blocks += sections([line for one in report.plans for line in _plan_lines(one)])
    blocks += sections(
        [f":white_circle:  *{escape(stage)}*: {escape(why)}" for stage, why in report.missing]
    )
    which = f"{report.application} --group {report.group} --plan {report.name}"
    command = f"gitopsd approve {which}"
    if asked:
        blocks.append(section(f"To approve:\n```{escape(command)}```"))
        blocks.append(section(f"To refuse:\n```{escape(f'gitopsd reject {which}')}```"))
    blocks.append(context(link(first.link, "details")))
    told = f"{_plans(len(asked))}. {escape(command)}" if asked else "nothing is asked any more"
    text = f"Approve? {place}: {who} by {escape(first.author)}. {told}"
    return make_message(text if asked else f"{place}: {who}: {told}", blocks)


def _waits(report: ApprovalReport) -> bool:
    return report.outcome is Outcome.WAITING


def _plans(count: int) -> str:
    return "1 plan" if count == 1 else f"{count} plans"


def _asked_of(asked: Sequence[ApprovalReport]) -> Sequence[str]:
    """Say who may, until when, and who did; the plan that lacks most counts."""
    least = min(asked, key=lambda one: sum(said.startswith("approved") for _, said in one.votes))
    until = min((one.until for one in asked if one.until is not None), default=None)
    return _facts(replace(least, until=until), waits=True)[1:]


def _plan_lines(report: ApprovalReport) -> Sequence[str]:
    """Say what one stage's plan changes and where, or what became of it."""
    where = f"cluster {code(report.cluster)}, namespace {code(report.namespace)}"
    name = f"*{escape(report.stage)}* ({where})"
    mark, verb = _OUTCOMES[report.outcome]
    if not _waits(report):
        said = escape(report.sentence) or verb.rstrip(":").lower()
        return [f"{mark}  {name}: {said}"]
    shown = [f"{escape(action, 20)} {code(one, 200)}" for action, one in report.changes]
    more = len(shown) - MOST_OF_GROUP
    lines = [f"\u2022 {one}" for one in shown[:MOST_OF_GROUP]]
    return [
        f"{mark}  {name}: {_count(report)}",
        *lines,
        *([f"and {more} more"] if more > 0 else []),
    ]


def write_call(report: CallReport) -> Message:
    """Write something that a person should look at."""
    about = "/".join(escape(part) for part in (report.application, report.stage) if part)
    sentence = escape(report.sentence)
    told = f"*{about}*: {sentence}" if about and not sentence.startswith(about) else sentence
    small = context(escape(report.trigger), when(report.at), link(report.link, "details"))
    return make_message(sentence, (section(f":rotating_light:  {told}"), small))


def _stage_line(line: StageLine) -> str:
    since = f", {when(line.since)}" if line.since is not None and line.standing.settled else ""
    return f"{_MARKS[line.standing]}  *{escape(line.stage)}*: {escape(line.sentence)}{since}"


def _step_line(line: StepLine) -> str:
    name = f"{_PHASES[line.phase]}  {line.step.value}"
    if line.ended is not None:
        return f"{name}, {say_duration(line.ended - line.began)}"
    waits = f": {escape(line.sentence)}" if line.sentence else ""
    return f"{name}, since {when(line.began)}{waits}"


def _facts(report: ApprovalReport, *, waits: bool) -> Sequence[str]:
    facts = [f"*Where:* cluster {code(report.cluster)}, namespace {code(report.namespace)}"]
    if waits and report.approvers:
        agreed = sum(said.startswith("approved") for _, said in report.votes)
        who = " or ".join(escape(one, 100) for one in report.approvers[:10])
        facts.append(f"*Who may:* {who}, {agreed} of {report.needed} so far")
    if waits and report.until is not None:
        facts.append(f"*Until:* {when(report.until)}")
    facts += [f"{escape(subject, 100)} {escape(said)}" for subject, said in report.votes[:10]]
    return facts


def _changes(report: ApprovalReport) -> Sequence[str]:
    lines = [f"*What changes:* {_count(report)}"]
    shown = report.changes[:MOST_CHANGES]
    lines += [f"\u2022 {escape(action, 20)} {code(name, 200)}" for action, name in shown]
    more = len(report.changes) - len(shown)
    if more > 0:
        lines.append(f"and {more} more")
    return [*lines, *(escape(note) for note in report.notes[:5])]


def _count(report: ApprovalReport) -> str:
    counted = ", ".join(f"{number} {escape(action, 20)}" for action, number in report.counts)
    return counted or "no object"
