#!/bin/sh
# Runs MAKE on the host that FROM reaches and, with TO, feeds what it prints to TAKE on the host that TO reaches.
# FROM and TO are commands that run their last argument on a host, such as `ssh root@10.0.0.1`. Hosts that still boot
# are asked again for LIMIT_SECONDS (900). What is handed over is in no file and no argument on this machine.
set -eu
limit=${LIMIT_SECONDS:-900}
until_seconds=$(($(date +%s) + limit))
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# Asks again until the command succeeds or the time is over; then says what it said last.
again() {
  tries=0
  until "$@" 2>"$errors"; do
    tries=$((tries + 1))
    if [ $((tries % 30)) = 0 ]; then echo "still asked for; the last answer: $(tail -n 1 "$errors")" >&2; fi
    if [ "$(date +%s)" -ge "$until_seconds" ]; then
      echo "not done within $limit s; the last error:" >&2
      cat "$errors" >&2
      return 1
    fi
    sleep 1
  done
}
make() { made=$(sh -c "$FROM \"\$1\"" reach "$MAKE"); }
take() { printf '%s\n' "$made" | sh -c "$TO \"\$1\"" reach "$TAKE"; }

again make
if [ -n "${TO:-}" ]; then again take; fi
