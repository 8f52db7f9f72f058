#!/usr/bin/env bash
# What Flink's scripts, its Kubernetes operator (which calls this file by its name) and people start here.
set -euo pipefail

case "${1:-help}" in
    jobmanager | taskmanager)
        role=$1
        shift
        exec "$FLINK_HOME/bin/$role.sh" start-foreground "$@"
        ;;
    help)
        echo "jobmanager | taskmanager | bitlake ... | a command of Flink, such as standalone-job.sh"
        ;;
    *)
        exec "$@"
        ;;
esac
