"""Alembic migrations: expand first, contract a release later; old code runs on the new schema.

Belongs here: the environment and versions. Never: imports of repositories, whose code moves on.
"""
