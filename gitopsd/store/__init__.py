"""What is remembered: SQLAlchemy Core tables and the repositories that implement the Store port.

Belongs here: SQL, transactions, encryption at rest, and the mapping between rows and domain values.
Never: a decision about a run; a conditional write only says whether its condition held.
"""
