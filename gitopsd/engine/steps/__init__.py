"""The steps of a run, a file each: the listing is the feature list.

Belongs here: what one step asks of the ports, and the verdict it comes to.
Never here: which step follows (the machine decides), other steps, drivers.
"""
