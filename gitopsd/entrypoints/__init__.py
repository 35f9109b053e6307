"""Where the outside reaches the running service: HTTP and the queue's worker.

Belongs here: turning a request or a job into one call of the engine or the store, and its answer.
Never: rules about releases, and never an adapter built by hand (bootstrap does that).
"""
