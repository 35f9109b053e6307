"""Kubernetes knowledge without a client: objects in, verdicts and orders out.

Belongs here: health, ordering, waves, diffs, inventory, redaction and validation of manifests.
Never: a request to a cluster, a clock (the time is an argument), or rules about stages and runs.
"""
