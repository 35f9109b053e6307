"""Random histories of two stages, many and long."""

from __future__ import annotations

from hypothesis import settings

from tests.support.pipeline_rules import PipelineRules


class _Histories(PipelineRules):
    """The rules under settings of their own: Hypothesis keeps these with the class."""


TestRandomHistories = _Histories.TestCase
TestRandomHistories.settings = settings(max_examples=2000, stateful_step_count=50)
