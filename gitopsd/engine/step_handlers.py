"""Which handler does which step. Gate has none: it is evaluated inside a transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gitopsd.domain.runs import Step
from gitopsd.engine.outcomes import Outcome
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.steps import (
    apply,
    certify,
    diff,
    prepare,
    prune,
    render,
    validate,
    verify,
    wait_healthy,
)

HANDLERS: Mapping[Step, Callable[[StepContext], Awaitable[Outcome]]] = {
    Step.RENDER: render.run_render,
    Step.VALIDATE: validate.run_validate,
    Step.DIFF: diff.run_diff,
    Step.PREPARE: prepare.run_prepare,
    Step.APPLY: apply.run_apply,
    Step.WAIT_HEALTHY: wait_healthy.run_wait_healthy,
    Step.VERIFY: verify.run_verify,
    Step.PRUNE: prune.run_prune,
    Step.CERTIFY: certify.run_certify,
}
