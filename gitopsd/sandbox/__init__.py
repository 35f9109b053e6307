"""A Kubernetes API in memory and a node agent that runs workloads as local processes.

Belongs here: what a real API server and a real node would do, as far as the demo and tests need it.
Never: knowledge of gitopsd's rules or of a scenario; failures come from what the images do.

The node agent, outside in: `agent` composes it, `node` keeps its Node and Lease, `reflector`
follows its pods, `pod_runtime` runs one pod, `container_loop` one container again and again,
`container_run` one start of it, as `served` (inside the agent) or `process` (a child behind a
`front`). `status`, `restarts`, `records`, `behaviour` and `image_reference` are pure.
"""
