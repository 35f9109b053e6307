"""A verifier in memory: services that answer from a table instead of a network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gitopsd.domain.checks import Check, HttpCheck, HttpListCheck
from gitopsd.domain.manifests import Json
from gitopsd.ports import CheckAttempt, CheckTarget


@dataclass(frozen=True, slots=True)
class MemoryAnswer:
    """How a service in memory answers.

    Attributes:
        status: HTTP status.
        document: JSON body.
        latency: How long the attempt took.
        reachable: False when the service has no endpoints.
        visible: False when the API server could not say anything.
    """

    status: int = 200
    document: Json = None
    latency: timedelta = timedelta(milliseconds=1)
    reachable: bool = True
    visible: bool = True


class MemoryVerifier:
    """Answers checks by service (or URL) and path; what nobody set passes every check.

    Attributes:
        asked: Check name and target of each attempt, in order.
        tidied: Check name and attempt whose remains were taken away, in order.
    """

    def __init__(self) -> None:
        self.tidied: list[tuple[str, str]] = []
        self.asked: list[tuple[str, CheckTarget]] = []
        self._answers: dict[tuple[str, str], list[MemoryAnswer]] = {}
        self._attempts: dict[str, list[CheckAttempt]] = {}

    def serve(self, service: str, *answers: MemoryAnswer, path: str = "/") -> None:
        """Answer requests to a service or URL with ``answers`` in turn; the last one stays."""
        self._answers[service, path] = list(answers)

    def answer(self, check: str, *attempts: CheckAttempt) -> None:
        """Answer the check of that name with ``attempts`` in turn; the last one stays."""
        self._attempts[check] = list(attempts)

    async def run_check(self, check: Check, target: CheckTarget) -> CheckAttempt:
        """Make one attempt."""
        self.asked.append((check.name, target))
        scripted = self._attempts.get(check.name)
        if scripted:
            return scripted.pop(0) if len(scripted) > 1 else scripted[0]
        if isinstance(check, HttpListCheck):
            attempts = [self._answer(one) for one in check.requests]
            return min(attempts, key=lambda one: (one.passed is not False, one.passed is not None))
        if not isinstance(check, HttpCheck):
            return CheckAttempt(passed=True, message=f"{check.name}: passed")
        return self._answer(check)

    def _answer(self, check: HttpCheck) -> CheckAttempt:
        answers = self._answers.get((check.service or check.url, check.path))
        if not answers:
            return CheckAttempt(passed=True, message=f"{check.name}: answered")
        return _judge(check, answers.pop(0) if len(answers) > 1 else answers[0])

    async def tidy(self, check: Check, target: CheckTarget) -> None:
        """Note what was taken away."""
        self.tidied.append((check.name, target.attempt))


def _judge(check: HttpCheck, answer: MemoryAnswer) -> CheckAttempt:
    problem = _find_problem(check, answer)
    passed = None if not answer.visible else not problem
    return CheckAttempt(
        passed=passed,
        message=problem or f"answered {answer.status}",
        evidence={"status": answer.status, "body": answer.document},
        latency=answer.latency,
    )


def _find_problem(check: HttpCheck, answer: MemoryAnswer) -> str:
    if not answer.visible:
        return "the API server did not answer"
    if not answer.reachable:
        return f"service {check.service} has no endpoints"
    if answer.status != check.status:
        return f"answered {answer.status}, expected {check.status}"
    document = answer.document if isinstance(answer.document, dict) else {}
    for path, expected in check.json_path.items():
        if document.get(path) != expected:
            return f"{path} is {document.get(path)!r}, expected {expected!r}"
    if check.max_latency is not None and answer.latency > check.max_latency:
        return f"took {answer.latency}, allowed are {check.max_latency}"
    return ""
