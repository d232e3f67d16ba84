"""Driver one of the machines: the real world of sockets, disks, clocks and processes."""
