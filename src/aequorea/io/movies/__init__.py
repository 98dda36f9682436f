"""Movies: video files, HDF5, NWB, Scanbox, and recordings that lie in many files."""

from __future__ import annotations
