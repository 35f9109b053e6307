"""The doorbell: hints between processes that there is work.

Belongs here: ringing and listening, in this process and over Redis.
Never: work itself, its order, its attempts or its results; losing every ring loses nothing.
"""
