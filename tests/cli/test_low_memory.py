"""Commands under limits as clusters and containers set them (ulimit -v): one line, never a crash."""

from __future__ import annotations

import re
import resource
import subprocess
import sys

import pytest
from conftest import PHOTO

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of the shell are checked against /proc")


def limited(tmp_path, megabytes, *args):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    command = [sys.executable, "-m", "chain_of_zoom", *args, "-q"]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=limit, check=False)


BY_NCNN = ("--set", "backbone.runtime=ncnn")  # the limits below are for what it takes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("megabytes", "args", "says"),
    [
        (
            400,
            ("zoom", str(PHOTO), "--backbone", "realsr", *BY_NCNN, "--zoom", "16"),
            "weights of realsr: .* --backbone animevideo",
        ),
        (
            800,
            ("zoom", str(PHOTO), "--backbone", "realsr", *BY_NCNN, "--zoom", "16"),
            r"needed, .* allowed; .* --size \d+x\d+",
        ),
        (1000, ("upscale", str(PHOTO), "--backbone", "realsr", *BY_NCNN), r"needed, .* allowed; .* use --tile \d+"),
        (420, ("upscale", str(PHOTO), "--backbone", "animevideo"), r"needed, .* allowed; .* use --tile \d+"),
        (
            1000,
            ("upscale", str(PHOTO), "--backbone", "realsr", *BY_NCNN, "--estimate"),
            r"needed, .* allowed; .* use --tile \d+",
        ),
    ],
)
def test_what_fits_is_said_before_the_work(tmp_path, megabytes, args, says):
    done = limited(tmp_path, megabytes, *args)
    assert done.returncode == 6, done.stderr
    assert done.stderr.count("\n") == 1
    assert re.search(says, done.stderr), done.stderr
    assert ("--size" in done.stderr) <= (args[0] == "zoom")
    assert not list(tmp_path.iterdir())
