"""One module per kind of verification of a release that is already live.

Belongs here: asking, one module a kind, dispatched in `by_kind`; bounds on what is
read, and evidence of the answer.
Never: what a failed verification means for the run.
"""
