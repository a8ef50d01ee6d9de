"""Membership (floor 6): who can be reached. It sits beside replication; neither sees the other.

What the node needs of it is the interface of `gossip.Membership`: add and remove a member, tick, choose whom to meet,
digest and merge, and the state of a member. How liveness is found is known here alone.
"""
