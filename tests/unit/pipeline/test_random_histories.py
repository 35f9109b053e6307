"""A short look at random histories; ``tests/acceptance/test_machine_model.py`` looks longer."""

from __future__ import annotations

from hypothesis import settings

from tests.support.pipeline_rules import PipelineRules


class _Histories(PipelineRules):
    """The rules under settings of their own: Hypothesis keeps these with the class."""


TestRandomHistories = _Histories.TestCase
TestRandomHistories.settings = settings(max_examples=10, stateful_step_count=30)
