#!/bin/bash
# One compressed dump, complete or not there at all.
set -euo pipefail
target="/backups/$BACKUP_NAME_PREFIX$(date -u +"$BACKUP_NAME_TIME").sql.gz"
pg_dump --host="$DB_HOST" --port="$DB_PORT" --username="$DB_USER" "$DB_NAME" | gzip >"$target.part"
mv "$target.part" "$target"
echo "wrote $target, $(stat -c %s "$target") bytes"
