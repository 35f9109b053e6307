"""The API: one module a resource, each with its models and routes.

Belongs here: what a resource looks like from outside, and one call of the engine or the store.
Never: checking credentials (routes does), SQL, or a decision about a run.
"""
