"""The deterministic simulator (beside the floors): one seed, one trace, byte for byte.

It drives the very node that the server runs, floors 0 to 8, through simulated time and a simulated network on which
every message is really encoded and decoded. Nothing imports it but the command line.
"""
