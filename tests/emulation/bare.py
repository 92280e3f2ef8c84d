"""Calls an entry of the emulation in a process without PyTorch, on memory of zeros: `python bare.py STEM ARGUMENTS`, with the
library in WWAE_EMULATION_LIBRARY and the arguments as `described` gives them.

Values are not looked at: a sanitizer that finds something ends the process. Prints the emulation's error, if there is one.
"""

import ctypes
import json
import os
import sys

DTYPES = {"torch.bfloat16": 2, "torch.float16": 3}


def described(arguments):
    """JSON of the arguments of `EmulatedKernels.call`: of a tensor its bytes, of a dtype its code, of a sequence its numbers."""
    return json.dumps([_description(argument) for argument in arguments])


def _description(argument):
    if hasattr(argument, "nbytes"):
        return {"bytes": argument.nbytes}
    if hasattr(argument, "__len__"):
        return list(argument)
    return DTYPES.get(str(argument), argument)


def as_c(argument):
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, dict):
        return ctypes.create_string_buffer(argument["bytes"])
    if isinstance(argument, list):
        return (ctypes.c_int64 * len(argument))(*argument)
    return ctypes.c_int64(argument)


def main(stem, arguments):
    library = ctypes.CDLL(os.environ["WWAE_EMULATION_LIBRARY"])
    library.emulation_error.restype = ctypes.c_char_p
    getattr(library, f"emulate_{stem}")(*map(as_c, json.loads(arguments)))
    print((library.emulation_error() or b"").decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
