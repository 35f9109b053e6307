"""Registries of images, over the OCI distribution API: tags, digests, labels.

Belongs here: addresses and credentials of registries, their ways to log in, reading manifests, and
bounds on everything that comes back. A credential goes to its registry, and to hosts that the
registry's file names, and nowhere else.
Never: which image is wanted (`gitopsd.pipeline.image_choice`), when to ask, pushing anything.
"""
