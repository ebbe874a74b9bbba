"""A process whose standard error is a terminal."""

from __future__ import annotations

import os
import subprocess

import pytest


def run_at_terminal(command, **options):
    """Run a command; return its exit code, its standard output, and what a person at the terminal saw."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(ours, (24, 120))  # it begins without a size, and a bar would have no room
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, **options) as process:
            os.close(theirs)
            seen = []
            # A terminal holds a few kB: it is read while the process runs, until nobody has its other end open.
            try:
                while piece := os.read(ours, 4096):
                    seen.append(piece)
            except OSError:
                pass
            out, _ = process.communicate(timeout=120)
    finally:
        os.close(ours)
    return process.returncode, out, b"".join(seen).decode()
