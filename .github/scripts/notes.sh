#!/usr/bin/env bash
# Prints the section of a version from CHANGELOG.md: notes.sh 1.2.3
set -euo pipefail
cd "$(dirname "$0")/../.."
notes=$(awk -v heading="## [$1]" '
  index($0, "## ") == 1 { inside = index($0, heading) == 1; next }
  /^\[[^]]*\]: / { inside = 0 }
  inside' CHANGELOG.md)
if [ -z "${notes//[[:space:]]/}" ]; then
  echo "CHANGELOG.md has no section ## [$1]" >&2
  exit 1
fi
echo "$notes"
