"""The helper package of Words to Pixels: the plain code that the lessons build on.

Importing it is cheap (no torch) and quietens OpenMP, whose threads busy-wait by default: two programs that do so on one
small machine slow each other down 10 to 90 times. The settings are read once, when torch is loaded, so import
`course_utils` before torch or set them in the shell.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
