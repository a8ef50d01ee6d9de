"""The Redis protocol (floor 8): requests from bytes, replies to bytes, error texts. No I/O."""
