"""The command line: a window on the client that asks, shows and decides nothing."""
