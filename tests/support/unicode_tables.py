"""Hypothesis' tables of Unicode, built before the first test starts.

Hypothesis writes them into its home directory when a text is first asked for, which takes a slow
machine longer than a unit test may: on a fresh clone an innocent test overran its time.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st


@pytest.hookimpl(trylast=True)  # Hypothesis has been set up by then
def pytest_sessionstart(session: pytest.Session) -> None:  # noqa: ARG001 - pytest's hook
    """Asks for the two kinds of text that tests draw, outside of any test's time limit."""
    st.text().validate()
    st.characters(exclude_categories=()).validate()
