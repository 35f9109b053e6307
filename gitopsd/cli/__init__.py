"""The command line: one module per group of verbs, on typer and rich.

Belongs here: options, terminal output, exit codes, and the HTTP API client that the verbs use.
Never: a decision about releases, SQL, or a call to a cluster.
"""
