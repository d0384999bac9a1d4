"""Makes tiny.safetensors and tiny.json again, after a change of the program's format.

    python tests/vectors/program/make.py

The answers come from the executor in tests/conformance/test_program_spec.py, made from docs/program.md.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from restore_models.program import save_program

HERE = Path(__file__).parent


def main() -> None:
    place = HERE.parents[1] / "conformance" / "test_program_spec.py"
    spec = importlib.util.spec_from_file_location("program_spec", place)
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)

    target = HERE / "tiny.safetensors"
    save_program(target, page.make_program())
    program, tensors = page.read_model(target.read_bytes())
    vectors = []
    for name, image in page.make_images().items():
        bits = image.dtype.itemsize * 8
        result, widths, estimates, raw = page.restore(program, tensors, image.tolist(), bits)
        vectors.append(
            {
                "name": name,
                "bits": bits,
                "pixels": image.tolist(),
                "result": result,
                "confidence": widths,
                "estimates": estimates,
                "pixels_sha256": page.pixels_digest(result, bits),
                "outputs_sha256": {output: page.tensor_digest(values) for output, values in raw.items()},
            }
        )
    document = {
        "format": "restore.vectors.whole/1",
        "about": "What tiny.safetensors makes of some images; raw outputs are hashed as little-endian int32.",
        "program_sha256": page.program_digest(program, tensors),
        "vectors": vectors,
    }
    (HERE / "tiny.json").write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
