"""The bytes that nodes say to one another (floor 2): operations, messages, frames.

Equal content gives equal bytes: structures are written as arrays with their fields in order, and every table is sorted
before it is written. Decoding is bounded and checked: what is too long, of another type or outside its range raises
`PeerError` and changes nothing.
"""
