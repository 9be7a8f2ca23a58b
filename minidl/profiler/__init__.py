"""Where the time of a program goes: by op, kernel, layer and optimizer, with bytes and FLOPs.

    for batch in batches[:2]:
        train(batch)                    # the first steps load and compile kernels
    with minidl.profile() as prof:
        train(batches[2])
    print(prof.table(sort_by="own", row_limit=20))
    prof.export_chrome_trace("trace.json")          # for ui.perfetto.dev or chrome://tracing

While a profile runs, the forward of every op, one step of the backward walk, the call of a kernel
and of a module, and the step of an optimizer are exchanged for functions that also read the clock.
Afterwards everything is as it was: a program that is not profiled pays nothing. A profiled one
pays 2.3 µs an op and direction and 1.4 µs a kernel (Zen 4), counted as own time of the caller.

Bytes and FLOPs of an op are what its class counts for the shapes (`flops`, `bytes`, and those of
backward). A kernel's bytes are the sizes of the arrays it was given, so of a table of which it
reads few rows, the whole. An optimizer's are one pass over gradients, parameters and states.
"""

from minidl.profiler.events import Row
from minidl.profiler.session import profile

__all__ = ["Row", "profile"]
