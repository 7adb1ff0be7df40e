"""The project's measurements: every figure that its documents state comes from here.

`python -m bench` starts the gateway and, beside it in the same run, the references that it is compared with,
and plays all of them in alternating rounds. Absolute rates of one machine mean little on another, the ratios
of one run more.

A row of the table is a module of `bench/rows/`; `bench/rows/__init__.py` lists them.
"""

from __future__ import annotations
