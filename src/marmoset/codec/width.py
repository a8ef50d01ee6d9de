"""How many dots an operation takes (floor 2). By itself, since it is asked at every write, and mypyc compiles no module
with structures of msgspec."""

from marmoset.codec.operations import AnyOperation, Inside, SequenceInsert


def width(operation: AnyOperation) -> int:
    """How many dots an operation takes. O(1)."""
    if type(operation) is Inside:
        return width(operation.operation)
    return len(operation.values) if type(operation) is SequenceInsert else 1
