#!/usr/bin/env bash
# Fuzzes every target in turn: run.sh [TARGET…].
#
#   MINUTES   for each target in each round, 1 unless set
#   ROUNDS    1 unless set; each round goes on from the corpus that the one before has grown
#   UNTIL     ends no later than this, in seconds of Unix time
#   CORPUS    where inputs and findings are gathered, target/fuzz unless set; it may be kept, to go on another day
#   PARALLEL  targets at a time, 1 unless set
#   BUILD     no: the targets are used as they were last compiled
#
# CORPUS/summary.tsv has a line for each finished run of a target: when it began, seconds on the clock, seconds of CPU, inputs tried,
# and how it ended. Sums by target are printed at the end.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
minutes=${MINUTES:-1} rounds=${ROUNDS:-1} until=${UNTIL:-9999999999} parallel=${PARALLEL:-1}
corpus=${CORPUS:-${CARGO_TARGET_DIR:-target}/fuzz}

missing() { printf '%s\n' "$1" >&2; exit 1; }
command -v cargo-fuzz >/dev/null || missing 'cargo-fuzz is missing: cargo install --locked cargo-fuzz'
cargo +nightly --version >/dev/null 2>&1 || missing 'nightly Rust is missing: rustup toolchain install nightly --profile minimal'

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
[ "${BUILD:-}" = no ] || cargo +nightly fuzz build --fuzz-dir tests/fuzz
binaries=tests/fuzz/target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
mkdir -p "$corpus"
# One target writes a small file for each input.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
summary=$corpus/summary.tsv
[ -e "$summary" ] || printf 'target\tbegan\tseconds\tcpu_seconds\tinputs\tended\n' >"$summary"

# The largest input of a target, and what it may allocate at once and hold together, in MiB. The limits of src/limits.rs are above what
# inputs of these sizes can justify: whoever believes a length that he has not seen goes beyond them.
bounds() {
  case $1 in
    encode) echo 65536 600 1500 ;;
    tar_scan | frame_map | agreement) echo 65536 200 700 ;;
    zstd) echo 16384 200 700 ;;
    *) echo 16384 64 500 ;;
  esac
}

# Fuzzes one target for some seconds and writes its line of the summary.
fuzz() {
  local target=$1 seconds=$2 own=$corpus/$1 begun wall ended seeds=()
  read -r longest once together <<<"$(bounds "$target")"
  mkdir -p "$own" "$corpus/findings"
  seeds=("$own" "tests/fuzz/corpus/$target")
  case $target in tar_scan | encode) seeds+=(fixtures/tars) ;; esac
  begun=$(date +%s)
  local dict=()
  [ -e "tests/fuzz/dictionaries/$target" ] && dict=("-dict=tests/fuzz/dictionaries/$target")
  ended=ok
  # Linux counts the processor time of a child that was waited for; bash tells it by TIMEFORMAT.
  local TIMEFORMAT='%U %S'
  { time "$binaries/$target" "${seeds[@]}" "${dict[@]}" -max_total_time="$seconds" -max_len="$longest" \
      -malloc_limit_mb="$once" -rss_limit_mb="$together" -timeout=20 -print_final_stats=1 -use_value_profile=1 \
      -artifact_prefix="$corpus/findings/$target-" >"$corpus/$target.log" 2>&1 || ended=$?; } 2>"$corpus/$target.time"
  # libFuzzer's code for a signal that asked it to end.
  case $ended in ok) ;; 72) ended=interrupted ;; *) ended=finding ;; esac
  wall=$(($(date +%s) - begun))
  local cpu inputs
  cpu=$(awk '{ printf "%.0f", $1 + $2 }' "$corpus/$target.time")
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$corpus/$target.log")
  # A run that ends in a finding prints no statistics; its last line of progress has the number.
  [ -n "$inputs" ] || inputs=$(sed -n 's/^#\([0-9]*\).*/\1/p' "$corpus/$target.log" | tail -1)
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "$(date -u -d "@$begun" +%FT%TZ)" "$wall" "$cpu" "${inputs:-0}" "$ended" >>"$summary"
  if [ "$ended" != finding ]; then
    printf '%-16s %5d s, %9d inputs\n' "$target" "$wall" "${inputs:-0}"
  else
    printf '%-16s FINDING, see %s\n' "$target" "$corpus/$target.log"
    cp "$corpus/$target.log" "$corpus/findings/$target-$begun.log"
  fi
}

# The targets, those first that had the least time so far.
by_need() {
  for target in "${targets[@]}"; do
    awk -F'\t' -v target="$target" '$1 == target { sum += $3 } END { print sum + 0, target }' "$summary"
  done | sort -n | cut -d' ' -f2
}

# In a function, so that bash has read all of it and the file may change while it runs.
all() {
  local round target left seconds
  for ((round = 0; round < rounds; round++)); do
    for target in $(by_need); do
      while [ "$(jobs -rp | wc -l)" -ge "$parallel" ]; do wait -n || true; done
      left=$((until - $(date +%s)))
      [ "$left" -gt 5 ] || break 2
      seconds=$((minutes * 60 < left ? minutes * 60 : left))
      fuzz "$target" "$seconds" &
    done
  done
  wait

  printf '\n'
  awk -F'\t' 'NR > 1 { wall[$1] += $3; cpu[$1] += $4; inputs[$1] += $5; if ($6 == "finding") bad[$1]++ }
  END { for (t in wall) printf "%-16s %8d s %8d s of CPU %12d inputs%s\n", t, wall[t], cpu[t], inputs[t], bad[t] ? "  " bad[t] " FINDINGS" : "" | "sort" }' "$summary"
  if compgen -G "$corpus/findings/*" >/dev/null; then
    printf '\nfindings are in %s\n' "$corpus/findings" >&2
    exit 1
  fi
}
all
exit
