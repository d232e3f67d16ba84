"""The runtime of Python functions: warm worker processes for members and trusted keys."""
