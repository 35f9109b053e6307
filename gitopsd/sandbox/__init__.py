"""A Kubernetes API in memory and a node agent that runs workloads as local processes.

Belongs here: what a real API server and a real node would do, as far as the demo and tests need it.
Never: knowledge of gitopsd's rules or of a scenario; failures come from what the images do.
"""
