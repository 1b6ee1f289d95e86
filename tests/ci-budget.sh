#!/usr/bin/env bash
# What will this update cost? Converts two versions of an image, pushes both, pulls the previous and then the new one into an empty store as a
# node would, and fails when the update takes more bytes than the budget.
#
#   ci-budget.sh PREVIOUS NEW HOST/REPOSITORY BUDGET
#
# PREVIOUS and NEW are images as `chunkify convert` takes them (docker://…, oci:DIR:TAG); BUDGET is in bytes of response bodies.
#   CHUNKIFY=chunkify            the program
#   CHUNKIFY_FLAGS=--plain-http  more flags for push and pull, such as for a registry without TLS
#   CONVERT_FLAGS='--level 19'   more flags for convert
#   WORK=DIR                     where the store and the reports are made (default: a temporary folder, removed at the end)
# In a GitHub job the table goes into the job's summary.
set -euo pipefail

if [ $# -ne 4 ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
previous=$1 new=$2 repository=$3 budget=$4
chunkify=${CHUNKIFY:-chunkify}
read -ra flags <<<"${CHUNKIFY_FLAGS:-}"
read -ra convert_flags <<<"${CONVERT_FLAGS:-}"
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
mkdir -p "$WORK"

for tag in previous new; do
  "$chunkify" convert "${!tag}" "oci:$WORK/converted:$tag" "${convert_flags[@]}"
  "$chunkify" push "oci:$WORK/converted:$tag" "docker://$repository:$tag" "${flags[@]}"
done

pull() { "$chunkify" pull "docker://$repository:$1" --store "$WORK/store" --report "$2" --prefer bytes "${@:3}" "${flags[@]}"; }
rm -f "$WORK/report.json"
pull previous "$WORK/previous.json"
status=0
pull new "$WORK/report.json" --max-wire-bytes "$budget" || status=$?

# The report as a table in Markdown. A pull that was over the budget may have written none.
table() {
  python3 - "$WORK/report.json" "$budget" "$status" <<'PYTHON'
import json, os, sys

path, budget, status = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("### What this update costs\n")
if os.path.exists(path):
    with open(path) as file:
        report = json.load(file)
    print("| layer | size | how | reused | fetched | why |\n|---|--:|---|--:|--:|---|")
    for layer in report["layers"]:
        why = (layer["reason"] or "").replace("|", "\\|")
        print("| `%s` | %s | %s | %s | %s | %s |" % (
            layer["digest"][7:19], f'{layer["size"]:,}', layer["mode"], f'{layer["reused_bytes"]:,}', f'{layer["fetched_bytes"]:,}', why))
    print(f'\n{report["wire"]["body_bytes"]:,} bytes in {report["wire"]["requests"]} requests.')
print(f'\nBudget: {budget:,} bytes, {"kept" if status == 0 else "**exceeded, or the pull failed**"}.')
PYTHON
}
table | tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}"
if [ "$status" -ne 0 ]; then
  echo "the update was not pulled within $budget bytes" >&2
fi
exit "$status"
