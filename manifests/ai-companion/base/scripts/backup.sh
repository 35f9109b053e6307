#!/bin/sh
# One folder a backup: both databases as they run, and the configuration; kept here and in S3.
set -eu
name="$(date -u +%Y%m%d_%H%M%S)"
target="/backups/$name"
mkdir -p "$target"

redis-cli -u "$REDIS_URL" --rdb "$target/redis_dump.rdb"
neo4j-admin backup --database=neo4j --from="$NEO4J_BACKUP_ADDRESS" --backup-dir="$target"
tar -czf "$target/config_backup.tar.gz" -C / app/config app/prompts
aws s3 sync --only-show-errors "$target" "s3://$S3_BUCKET/$name/"

find /backups -mindepth 1 -maxdepth 1 -type d -mtime "+$KEEP_DAYS" -exec rm -rf {} +
echo "backup $name is in s3://$S3_BUCKET"
