"""``external:``: asks a service of the user's own, signed as the webhook channel signs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.parse import urlsplit

import orjson

from gitopsd.adapters.asking_http import (
    HttpAsker,
    HttpQuestion,
    HttpReply,
    find_type_problem,
    load_strictly,
)
from gitopsd.adapters.notify.outgoing import find_pause
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.asked_gates import ExternalGate, Finding, GateQuestion, ProbeAnswer
from gitopsd.domain.manifests import Json
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.external_judging import judge_decision
from gitopsd.ports import Clock
from gitopsd.webhooks.signatures import compute_standard_signature

LONGEST = 65_536
"""Longest answer that is read, in bytes: a decision and a sentence."""

_OK = 200
_REDIRECTS = range(300, 400)


class ExternalProber:
    """Puts questions to services of the user's own.

    Args:
        asker: Connections.
        clock: Time of the signatures.
    """

    def __init__(self, asker: HttpAsker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock

    async def ask(self, gate: ExternalGate, question: GateQuestion) -> ProbeAnswer:
        """Ask once.

        Raises:
            GitopsdError: It could not be asked, or did not answer.
        """
        who = urlsplit(gate.url).netloc
        body = write_question(question)
        reply = await self._asker.fetch(
            HttpQuestion(
                url=gate.url,
                where=who,
                timeout=gate.timeout,
                longest=LONGEST,
                method="POST",
                headers=self._sign(gate, question, body),
                body=body,
            )
        )
        answer = self._judge(who, reply)
        details: dict[str, Json] = {
            "url": redact_clause(gate.url),
            "status": reply.status,
            "answer": redact_clause(reply.body.decode("utf-8", "replace")),
        }
        return replace(answer, sentence=redact_clause(answer.sentence), details=details)

    def _sign(self, gate: ExternalGate, question: GateQuestion, body: bytes) -> dict[str, str]:
        """Sign a question; each asking is a message of its own."""
        secret, now = load_secret(gate.secret_file), self._clock.now()
        named = f"{gate.url}\n{question.run}\n{now.isoformat()}".encode()
        message_id = f"ask_{hashlib.sha256(named).hexdigest()[:32]}"
        return {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": compute_standard_signature(secret, message_id, now, body),
        }

    def _judge(self, who: str, reply: HttpReply) -> ProbeAnswer:
        if reply.status != _OK:
            moved = reply.status in _REDIRECTS
            more = "; redirects are not followed: write the final url" if moved else ""
            return ProbeAnswer(
                Finding.INCONCLUSIVE,
                f"{who} answered {reply.status} instead of 200{more}",
                retry_after=find_pause(reply.headers, self._clock.now()),
            )
        problem = find_type_problem(reply.headers)
        if problem:
            return ProbeAnswer(Finding.INCONCLUSIVE, f"{who} answered {problem}")
        try:
            document = load_strictly(reply.body)
        except ValueError as error:
            sentence = f"{who} answered what is no JSON: {error}"
            return ProbeAnswer(Finding.INCONCLUSIVE, sentence)
        return judge_decision(document, who)


def write_question(question: GateQuestion) -> bytes:
    """Write what a service is asked, as one JSON object of text."""
    return orjson.dumps(
        {
            "application": question.stage.application,
            "stage": question.stage.stage,
            "run": question.run,
            "release": question.release,
            "alias": question.alias,
            "plan": question.plan or "",
            "repository": question.repository,
            "commit": question.commit,
        }
    )
