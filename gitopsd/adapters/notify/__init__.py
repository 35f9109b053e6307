"""One module per channel that tells people what happened.

Belongs here: a channel's message format, its signature and its transport.
Never: when to notify and whom (the pipeline's commands and the configuration say that).
"""
