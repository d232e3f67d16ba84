#!/bin/sh
# Run a well-known peer, and start it again when it ends:   run.sh [SETTINGS]   (by default peer.env beside this script)
#
# SIGTERM or SIGINT let the peer leave politely and end the loop. Settings that cannot be (exit code 2) end it too:
# trying again would not help. Between two tries 1 s, then 2 s, up to 60 s; a peer that ran for a minute starts anew at 1 s.
set -u

settings=${1:-$(dirname "$0")/peer.env}
if [ ! -r "$settings" ]; then
    echo "run.sh: cannot read $settings" >&2
    exit 2
fi
folder=$(cd "$(dirname "$settings")" && pwd)
LISTEN= DATA= ROLES= SEEDS= SWARM_KEY_FILE=
P2PCPN=${P2PCPN:-p2pcpn}
. "$folder/$(basename "$settings")"
if [ -z "$LISTEN" ] || [ -z "$DATA" ]; then
    echo "run.sh: $settings must set LISTEN and DATA" >&2
    exit 2
fi

set -- node --listen "$LISTEN" --data "$DATA"
for role in $ROLES; do
    set -- "$@" --role "$role"
done
if [ -n "$SEEDS" ]; then
    case $SEEDS in /*) ;; *) SEEDS=$folder/$SEEDS ;; esac
    for seed in $(sed 's/#.*//' "$SEEDS" | tr ',' ' '); do
        set -- "$@" --bootstrap "$seed"
    done
fi
if [ -n "$SWARM_KEY_FILE" ]; then
    set -- "$@" --swarm-key "$SWARM_KEY_FILE"
fi

child=
leaving=
leave() {
    leaving=1
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
    fi
}
trap leave TERM INT

pause=1
while [ -z "$leaving" ]; do
    began=$(date +%s)
    $P2PCPN "$@" &
    child=$!
    wait "$child"
    code=$?
    # A signal to us ends "wait" early: the peer is still leaving.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    child=
    if [ -n "$leaving" ]; then
        exit 0
    fi
    if [ "$code" -eq 2 ]; then
        exit 2
    fi
    if [ $(($(date +%s) - began)) -ge 60 ]; then
        pause=1
    fi
    echo "run.sh: the peer ended with $code; again in $pause s" >&2
    sleep "$pause" &
    child=$!
    wait "$child"
    child=
    pause=$((pause * 2 > 60 ? 60 : pause * 2))
done
