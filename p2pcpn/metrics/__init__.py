"""What is measured: counters and samples, and the shape of the network seen from here."""
