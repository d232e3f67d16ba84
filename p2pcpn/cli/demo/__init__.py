"""The demonstration: a picture and a word count that a local swarm computes while one of its peers is killed."""
