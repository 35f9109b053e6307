"""What the service says about itself: metrics, logs, reports of bugs.

Belongs here: names and buckets of metrics, the form of a log line, what a bug report may hold.
Never: anything that something else depends on; losing all of it loses nothing.
"""
