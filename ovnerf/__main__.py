"""`python -m ovnerf`, and the command `ovnerf` of an installed package."""

import os
import sys


def run() -> None:
    """Do what the command line says and end the process with its exit code."""
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        # A locale of another encoding would garble names of files and what is printed. Python
        # chooses its encoding when it starts, so it starts again.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    from ovnerf.cli import main

    for stream in (sys.stdout, sys.stderr):
        # Names that are no text (file names of any bytes) are shown, not fatal.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking torch apart module by module costs every job half a second; the system does it at once.
    os._exit(code)


if __name__ == "__main__":
    run()
