"""How each configured kind of gate answers: one module a kind, one pure function each.

Belongs here: ``evaluate_KIND(spec, facts)``, which reads nothing but what it is given. Never: time,
I/O, or a memory of what was answered before; a fact that is missing closes the gate.
"""
