"""The optional build of p2pcpn in which its machines are C extensions; see ``make compiled``."""
