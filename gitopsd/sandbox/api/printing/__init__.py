"""Tables: the columns and cells that a real API server answers when ``kubectl get`` asks for them.

Belongs here: one row function per kind, and durations as Kubernetes says them. Pure.
Never: the choice between a table and an object, which is HTTP's.
"""
