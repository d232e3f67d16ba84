"""Datagrams and sessions: the sockets that carry what the machines send."""
