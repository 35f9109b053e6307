"""The hosts around a cluster that a demo needs: a Git server and a registry of images.

Belongs here: what people push to, spoken as the real ones speak (smart HTTP and GitHub's push
webhook, the OCI distribution API and Distribution's notifications), each a process of its own, and
the making of small images to push.
Never: knowledge of gitopsd's rules, of a scenario, or of what a receiver makes of a delivery.
"""
