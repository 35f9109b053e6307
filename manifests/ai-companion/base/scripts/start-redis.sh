#!/bin/sh
# redis-0 is the primary; every other member copies from it.
set -eu
set -- --dir /data --appendonly yes --maxmemory "$REDIS_MAXMEMORY" \
  --requirepass "$REDIS_PASSWORD" --masterauth "$REDIS_PASSWORD"
case "$(hostname)" in
*-0) ;;
*) set -- "$@" --replicaof redis-0.redis-nodes 6379 ;;
esac
exec redis-server "$@"
