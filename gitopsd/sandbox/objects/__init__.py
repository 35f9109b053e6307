"""What a Kubernetes API server does to an object between a request and its store. Pure.

Belongs here: schemas of the served kinds, field ownership and server-side apply, patches, defaults,
validation, and the bodies of refusals, each told in the real server's words.
Never: HTTP, storage, watches or a clock (`sandbox.api`), what controllers do
(`sandbox.controllers`), or anything of gitopsd's own rules.

`writes` puts it together: one call for a create, an update or a patch. Below it, each on its own:
`schemas` (with `resources` and `openapi`), `decoding`, `patches`, `merging` on `managed_fields`,
`defaults`, `validation` and `status_errors`. The facts in `schemas.json.gz` come from a real API
server (`tools/sandbox_schemas.py`).
"""
