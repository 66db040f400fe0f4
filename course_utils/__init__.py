"""The helper package of Words to Pixels: the plain code that the lessons build on.

Importing it is cheap (no torch) and quietens OpenMP, whose threads busy-wait by default: two programs that do so on one
small machine slow each other down 10 to 90 times. The settings are read once, when torch is loaded, so import
`course_utils` before torch or set them in the shell.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

if os.environ.get("COURSE_LOADED_MODULES"):  # `run` asks what a lesson imports
    from course_utils.loaded import record_modules

    record_modules()
