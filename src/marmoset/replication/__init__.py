"""Replication (floor 5): the log, what is known of the members, the frontier, the roster, exchange and snapshots.

A group's state is one `Replica` object; nothing here is a singleton. DESIGN.md sections 3 and 4 are the rules.
"""
