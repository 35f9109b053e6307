"""The nouns: frozen dataclasses and enums.

Belongs here: what releases, stages, runs, manifests, gates and configuration *are*.
Never here: decisions (they live in `gitopsd.pipeline`), Kubernetes rules (`gitopsd.kube`), I/O,
third-party imports.
"""
