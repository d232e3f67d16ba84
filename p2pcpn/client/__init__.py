"""What a program imports: an executor, a swarm, a node, a job."""
