#!/usr/bin/env bash
# Raw scans to results, by plain shell and --json: one line of a table for each scan.
#
#   examples/workflows/reconstruct.sh OUTPUT SCAN.npy [SCAN.npy ...]
#
# Exit codes of veridical: 0 done, 2 refused, 3 blocked by your policy, 1 an error of its own. What
# is refused or blocked is a line in the table, and the others go on; an error of its own stops all.
set -euo pipefail

output=${1:?OUTPUT}
shift
mkdir -p "$output"
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
worst() {
  python3 - "$1" <<'PYTHON'
import json, sys
order = ["not_run", "pass", "warn", "fail"]
print(max((f["verdict"] for f in json.load(open(sys.argv[1]))["findings"]), key=order.index))
PYTHON
}

printf 'scan\tstatus\tworst finding\testimate\n' | tee "$output/table.tsv"
for scan in "$@"; do
  name=$(basename "${scan%.*}")
  code=0
  veridical reconstruct "$scan" "$output/$name" --axes coil,y,x --contrast T1w \
    --model "${MODEL:-denoiser}" --json > "$output/$name.json" 2> "$output/$name.log" || code=$?
  case $code in
    0) line="done\t$(worst "$output/$name.json")\t$(field "$output/$name.json" estimate)" ;;
    2) line="refused\t-\t-" ;;
    3) line="blocked\t-\t-" ;;
    *) cat "$output/$name.log" >&2; exit "$code" ;;
  esac
  printf "%s\t$line\n" "$name" | tee -a "$output/table.tsv"
done
