"""What several test directories share: servers, builders and harnesses.

Belongs here: starting and stopping real programs, and building inputs.
Never: an assertion about gitopsd.
"""
