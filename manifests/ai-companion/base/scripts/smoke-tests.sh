#!/bin/sh
# Each part answers from inside the namespace; the first that does not ends the release.
set -eu
for address in supervisor:8080/health supervisor:8080/ready userbot:8080/health dashboard:3000/health; do
  curl --fail --silent --show-error --output /dev/null --max-time 10 \
    --retry 5 --retry-delay 2 --retry-all-errors "http://$address" || {
    echo "no good answer from http://$address" >&2
    exit 1
  }
  echo "http://$address answers"
done
