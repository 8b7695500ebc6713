"""Files that harm their decoder, by a mark at their end that a sitecustomize looks for.

Only decoding processes import it.

The product has no hook for it. What the decoder then does is real: a bad read, an endless loop in
C, memory without end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from faults.scanning import encoded
from resources.intake import limited_decoder
from tests.conftest import draw

KINDS = ("crash", "hang", "memory", "exit", "loop")

_SITECUSTOMIZE = """
import ctypes, os, re, time
from PIL import ImageFile

load = ImageFile.ImageFile.load

def harm(self):
    # An image that is loaded already has no file.
    mark = (self.fp.getvalue() if self.fp else b"").rpartition(b"harm:")
    if mark[1]:
        kind = mark[2].split(b":")[0].decode()
        with open(os.environ["TRIES_OF_DECODERS"], "a") as tries:
            tries.write(mark[2].decode() + "\\n")
        if kind == "crash":
            ctypes.string_at(0)
        if kind == "hang":
            time.sleep(3600)
        if kind == "loop":
            re.match("(a+)+$", "a" * 64 + "b")  # in C, and it lets no other thread go on
        if kind == "memory":
            held = []
            while True:
                held.append(bytes(1 << 28))
        if kind == "exit":
            os._exit(3)
    return load(self)

ImageFile.ImageFile.load = harm
"""


def harmful(kind: str, number: int) -> bytes:
    """Return a file that harms the process that decodes it in the way of its kind."""
    return encoded(Image.fromarray(draw(7, number)), "PNG") + f"harm:{kind}:{number}".encode()


@contextmanager
def sabotaged_decoders(folder: Path, seconds: float) -> Iterator[Path]:
    """Let decoders do as the files say, within ``seconds`` of processor time.

    It yields the file of lines, one for each decoding that began.
    """
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    tries = folder / "tries.txt"
    tries.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        )
        patch.setenv("TRIES_OF_DECODERS", str(tries))
        patch.setattr(limited_decoder, "SECONDS", seconds)
        yield tries
