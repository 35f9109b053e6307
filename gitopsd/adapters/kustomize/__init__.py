"""Rendering: real kustomize in a limited child, on exactly the files its inputs name.

Belongs here: finding an overlay's inputs in the Git tree, exporting them, running kustomize,
reading what it wrote and what it complained about.
Never: a file that the walk did not name, a network, a plug-in, another renderer's rules.
"""
