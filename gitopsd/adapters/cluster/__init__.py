"""Kubernetes clusters over raw JSON: one pooled session a cluster, every request bounded.

Belongs here: connections from kubeconfigs, discovery, requests, watches, impersonation.
Never here: what an object means (`gitopsd.kube`), what follows from an answer (`gitopsd.engine`).
"""
