#!/usr/bin/env bash
# Build the C example, in double and in single precision, and let `relgrad-np check` judge it.
# Then plant the published code's bias rule in it, and expect a failure that names it.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for real in double float; do
    ${CC:-cc} -O2 -std=c99 -Wall -Wextra -Werror -DREAL=$real -o "$work/relgrad" relgrad.c -lm
    mkdir "$work/$real"
    "$work/relgrad" "$work/$real" ../vectors/cases/*.json
    python -m relgrad_np check ../vectors "$work/$real" | tail -n 1
done
sed 's/R_b\[i\] += b\[k\]\[i\], //' relgrad.c > "$work/published.c"
${CC:-cc} -O2 -std=c99 -o "$work/relgrad" "$work/published.c" -lm
mkdir "$work/published"
"$work/relgrad" "$work/published" ../vectors/cases/*.json
if python -m relgrad_np check ../vectors "$work/published" > "$work/report"; then
    echo "a planted mistake passed" >&2
    exit 1
fi
tail -n 1 "$work/report"
grep -q 'R_b: the term of log|det W| (+ b) is missing' "$work/report"
