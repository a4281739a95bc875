"""Coverage-guided fuzzing, by hand: `pip install atheris`, then `python -m tests.fuzz TARGET [libFuzzer options]`.

Inputs that reach something new are kept in `tests/fuzz/corpus/TARGET`, which is small enough to keep.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["multid"]):
    from tests.fuzz.targets import TARGETS

if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
    sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=60 …]")
name = sys.argv.pop(1)
corpus = Path(__file__).parent / "corpus" / name
corpus.mkdir(parents=True, exist_ok=True)
atheris.Setup([*sys.argv, str(corpus)], TARGETS[name])
atheris.Fuzz()
