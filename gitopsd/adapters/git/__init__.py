"""Git: bare mirrors of remotes, fetched under a deadline and read from the object database.

Belongs here: addresses and credentials, the children that speak to remotes, the mirrors on disk.
Never: a work tree, a hook or filter of a repository, a remote that no configured address names.
"""
