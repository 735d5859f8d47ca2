#!/bin/sh
# The work of the original script's `health`, without its colours and words: for each service, whether it has a
# container, and what the engine's health check says of it, both asked of compose; then the three HTTP
# services on their published ports. Usage: health.sh BACKEND_PORT BRIDGE_PORT FRONTEND_PORT
for service in postgres redis rust-backend socketio-bridge frontend; do
    if [ -z "$(docker compose ps -q "$service")" ]; then
        echo "$service does not run"
    else
        docker compose ps "$service" | grep -o 'healthy\|unhealthy\|starting' || echo "$service: unknown"
    fi
done
for port in "$@"; do
    curl -s "http://localhost:$port/health" || echo "port $port does not answer"
done
