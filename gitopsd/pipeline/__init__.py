"""The decisions: which release a stage takes next, what a run does next, when it goes back.

Belongs here: events, commands, the machine's table, selection, gates, promotion, rollback,
quarantine. Never: I/O, clocks, chance or threads; time and facts are arguments, the decision is
the result.
"""
