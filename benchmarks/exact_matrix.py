"""The exactness matrix: `python benchmarks/exact_matrix.py [--reduced] [--model FILE] [--json]`.

Prints one line for each setting and one digest for each image; exit code 1 if an image has more than one.
"""

from __future__ import annotations

from restore_models.exact_matrix import main

if __name__ == "__main__":
    raise SystemExit(main())
