"""One module per step of a run; the listing is the list of steps.

Belongs here: what one step asks of the ports, and its outcome as an event for the machine.
Never: another step, the machine, or a choice of what comes next. Each handler is safe to repeat.
"""
