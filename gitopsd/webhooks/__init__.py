"""Deliveries read without I/O: headers and bytes in, a source event or a DeliveryError out.

Belongs here: one module per provider, signature checks over raw bytes, and what providers share.
Never: HTTP servers, storage, clocks, or what the service does with an event afterwards.
"""
