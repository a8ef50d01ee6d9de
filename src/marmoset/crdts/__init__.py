"""The types (floor 3): a plain value and a window, and the same few verbs for each.

The catalogue is the table below: kind, name as Redis says it, class of the plain value. `types` has the verbs by kind.
"""
