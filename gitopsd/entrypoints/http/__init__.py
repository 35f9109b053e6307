"""The HTTP surface: hooks, API, probes, metrics and web pages.

Belongs here: routes, bounds on bodies, authentication, and the shape of answers.
Never: reading a delivery's content (webhooks does) or deciding about a run (pipeline does).
"""
