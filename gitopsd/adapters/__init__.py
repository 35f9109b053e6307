"""The outside world behind the ports: Git, kustomize, clusters, registries, queue, time, telemetry.

Belongs here: drivers, deadlines, and the translation of their exceptions into gitopsd.errors.
Never: a rule about releases; an adapter of one port does not know the others.
"""
