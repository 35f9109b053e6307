"""Mutation testing: break the code on purpose, one small change at a time, and see who notices.

A mutant that no unit test notices marks a rule that nothing protects. Belongs here: making mutants
from a syntax tree, running the tests that touch the changed line, and counting. Never: knowledge
of what the code under test does.
"""
