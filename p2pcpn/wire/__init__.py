"""Bytes to values and back: no bytes from a peer become anything but a checked value or a ``PeerError``."""
