"""What a cluster's own controllers and its scheduler do, as far as workloads and gitopsd notice.

Belongs here: pure reconcile functions (facts and the time in, a `Plan` of writes out), one module
per kind or two, and the thin parts that feed them: `mirror` (facts), `queue`, `runner`, `desk`
(carries writes out), `roster` (which controller follows what).
Never: storage, validation, defaults or managedFields (`sandbox.api`, `sandbox.objects`), and what a
node does with a pod that is bound to it (`sandbox.agent`).

Rules, reasons and wordings follow Kubernetes 1.37; where a module's rule has one home upstream, its
docstring names it (``pkg/controller/...`` is meant relative to k8s.io/kubernetes).
"""
