#!/bin/sh
# Start the explorer in a Space: first the weights of the paper's preset, where it is asked for, then the server.
set -eu
if [ -z "${COZ_TOKEN:-}" ]; then
  echo "COZ_TOKEN is not set; accepted: a secret of at least 16 characters; add it in the settings of the Space" >&2
  exit 2
fi
data=${COZ_DATA:-/data} # what outlives a restart, where the Space has storage
[ -w "$data" ] || data=$HOME
export HF_HOME="$data/huggingface" XDG_CACHE_HOME="$data/cache"
case " $COZ_OPTIONS " in
*" --preset paper "*)
  coz models get sd3 qwen
  if [ ! -e "$data/published.converted" ]; then
    rm -rf "$data/published"
    git clone --depth 1 https://github.com/bryanswkim/Chain-of-Zoom "$data/published"
    coz models convert "$data/published/ckpt"
    touch "$data/published.converted"
  fi
  ;;
esac
# shellcheck disable=SC2086 # options are several words
exec coz explore --host 0.0.0.0 --port "${PORT:-7860}" --token "$COZ_TOKEN" --public-name "${SPACE_HOST:-localhost}" \
  --frame-in https://huggingface.co --no-browser --quiet --log-format json --cache-size "${COZ_CACHE_SIZE:-10G}" $COZ_OPTIONS
