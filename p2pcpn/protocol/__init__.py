"""Every decision a peer makes, as plain machines without I/O, clock or dice."""
