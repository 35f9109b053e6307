"""The configuration folder: files in, frozen values out, errors that say what to write instead.

Belongs here: reading and watching files, the models of the kinds, checks across files, schemas.
Never: what a change of configuration does to stages and runs.
"""
