"""One module per kind of gate that asks outside.

Belongs here: how a question is put to a service, and how far its answer is believed. Never: what
an answer means for a run (`gitopsd.pipeline.gate_kinds`), and when it is asked (the engine).
"""
