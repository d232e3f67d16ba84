"""Driver two of the machines: a virtual world where time, loss and faults are arguments."""
