#!/usr/bin/env bash
#SBATCH --job-name=zooms
#SBATCH --array=0-15
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
# Many machines without Ray: every task of the array takes every 16th photo and a folder of results of its own.
# Run it again, and each goes on where it ended.      sbatch examples/slurm.sh /shared/photos /shared/zooms
set -euo pipefail
photos=$1 out=$2 part=${SLURM_ARRAY_TASK_ID:-0} parts=${SLURM_ARRAY_TASK_COUNT:-1}
mkdir -p "$out"
list=$out/photos-$part.csv
{
  echo photo
  find "$(realpath "$photos")" -type f | sort | awk -v part="$part" -v parts="$parts" \
    'NR % parts == part { gsub(/"/, "\"\""); print "\"" $0 "\"" }'
} > "$list"
coz zoom --list "$list" --zoom 16 --skip-done -o "$out/part-$part"
