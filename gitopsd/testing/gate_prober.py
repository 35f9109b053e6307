"""A prober in memory: gates that ask outside are answered from a table."""

from __future__ import annotations

from gitopsd.domain.asked_gates import (
    AskedGate,
    ChecksGate,
    Finding,
    GateQuestion,
    ProbeAnswer,
    PrometheusGate,
)


class MemoryGateProber:
    """Answers questions by what they are about; what nobody set tells nothing.

    Attributes:
        asked: Every question, in order.
        closed: Whether it was closed.
    """

    def __init__(self) -> None:
        self.asked: list[GateQuestion] = []
        self.closed = False
        self._answers: dict[str, list[ProbeAnswer]] = {}

    def answer(self, about: str, *answers: ProbeAnswer) -> None:
        """Answer a query, an address, or the first of some checks, in turn; the last one stays."""
        self._answers[about] = list(answers)

    async def ask(self, question: GateQuestion) -> ProbeAnswer:
        """Ask once."""
        self.asked.append(question)
        answers = self._answers.get(_subject(question.gate))
        if not answers:
            return ProbeAnswer(Finding.INCONCLUSIVE, "nobody answers")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def close(self) -> None:
        """Close."""
        self.closed = True


def _subject(gate: AskedGate) -> str:
    if isinstance(gate, PrometheusGate):
        return gate.query
    return gate.names[0] if isinstance(gate, ChecksGate) else gate.url
