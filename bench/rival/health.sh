#!/bin/sh
# What the original script's `health` is known to have done: show the containers, ask PostgreSQL and Redis
# inside theirs, and ask the three HTTP services on their published ports. Its own text was not at hand; these
# are its steps, without its colours and headings. Usage: health.sh BACKEND_PORT BRIDGE_PORT FRONTEND_PORT
docker compose ps
docker compose exec -T postgres pg_isready -U open_webui || echo "PostgreSQL is not healthy"
docker compose exec -T redis redis-cli ping || echo "Redis is not healthy"
for port in "$@"; do
    curl -s "http://localhost:$port/health" || echo "port $port does not answer"
done
