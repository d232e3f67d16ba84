#!/bin/sh
# Submit a job, walk away, and fetch its results later: the swarm runs it and keeps them.
set -eu
cd "$(dirname "$0")"

p2pcpn swarm up --peers 4
trap 'p2pcpn swarm down' EXIT

# One task a line. The id is printed once the job lies safe on the swarm; nothing of ours runs from then on.
job=$(seq 1 50 | p2pcpn submit --detach collatz.py:steps --map -)
echo "submitted $job"

p2pcpn job wait "$job" --timeout 60s
p2pcpn swarm kill 0
echo "the longest way of the first fifty numbers has $(p2pcpn job result "$job" | sort -n | tail -n 1) steps"
