"""Moves data between the core and the ports.

Belongs here: intake, looks, admission, steps, the worker and its sweep: loading facts, calling a
decision, storing what follows, executing what it commands.
Never here: rules (they live in `gitopsd.pipeline` and `gitopsd.kube`), drivers, settings.
"""
