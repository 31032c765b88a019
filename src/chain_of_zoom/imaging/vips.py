"""libvips, quietly: imported only for what Pillow cannot do, which is 16-bit colour and its profiles."""

from __future__ import annotations

import logging

import pyvips as pyvips

logging.getLogger("pyvips").setLevel(logging.ERROR)  # it tells of every warning in a file on stderr
