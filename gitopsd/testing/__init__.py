"""Typed fakes of every port, in memory, with a clock set by hand; shipped for everybody's tests.

Belongs here: one fake per port, held to the same contract suite as the real adapter.
Never: expectations, calls recorded for their own sake, or what a production module imports.
"""
