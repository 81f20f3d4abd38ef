#!/usr/bin/env bash
# The gateway without any SDK. Needs curl and a running `routing-gateway`; the caller's own key is passed on.
set -euo pipefail

url=${GATEWAY_URL:-http://127.0.0.1:6060}/v1/chat/completions
headers=(-H "content-type: application/json" -H "authorization: Bearer ${OPENAI_API_KEY:-none}")

# Who answered, and why, is in the x-routing-* headers.
curl --silent --show-error --fail --include "$url" "${headers[@]}" --data '{
  "model": "router-static-50pct",
  "messages": [{"role": "user", "content": "What is the capital of France?"}]
}'
echo

# Streamed: each event arrives as the model sends it.
curl --silent --show-error --fail --no-buffer "$url" "${headers[@]}" --data '{
  "model": "router-static-50pct",
  "messages": [{"role": "user", "content": "Count to five."}],
  "stream": true
}'
