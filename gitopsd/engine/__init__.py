"""The movers: they carry facts from ports to the core and the core's commands back to ports.

Belongs here: intake, advance, dispatch, sweep, and one module per step under steps.
Never: a rule (the core holds them), a driver (adapters hold them), or SQL (the store holds it).
"""
