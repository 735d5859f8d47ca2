#!/bin/sh
# Like the start script of the real image, this prints the database's address, password included. That
# is bad practice, and kept on purpose: `owctl logs` has to mask it.
echo "DATABASE_URL: $DATABASE_URL"
exec python3 /app/main.py
