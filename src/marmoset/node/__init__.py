"""The node (floor 7): composition of replication and membership as a pure state machine, events in and effects out."""

from marmoset.membership.effects import SendPacket
from marmoset.node.effects import Close, Dial, DropTimer, Effect, Exit, Keys, Notify, Send, SetTimer, TimeSource
from marmoset.node.node import Node

__all__ = [
    "Close",
    "Dial",
    "DropTimer",
    "Effect",
    "Exit",
    "Keys",
    "Node",
    "Notify",
    "Send",
    "SendPacket",
    "SetTimer",
    "TimeSource",
]
