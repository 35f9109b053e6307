"""The sandbox's API server: one simulated cluster's objects in memory, served as Kubernetes does.

Belongs here: storage, watches, discovery, REST, authentication, the proxies to pods and node logs,
fault switches and the request log. `storage` is what controllers work with, in process.
Never: what an apply, a patch or a default does to an object (`sandbox.objects`), what controllers
do (`sandbox.controllers`), or anything of gitopsd's own rules.
"""
