"""Asks servers with Prometheus' HTTP API.

Belongs here: requests, credentials, bounds, and what goes wrong on the way. Never: what a figure
means (`gitopsd.pipeline.metric_judging`).
"""
