"""The register of fault cases, and how most of them end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from workbench import Bench, Row


@dataclass
class Case:
    """`quick`: worth repeating; `cgroup`: needs control groups."""

    run: Callable[[Bench], Row]
    quick: bool = False
    cgroup: bool = False


CASES: dict[str, Case] = {}


def case(*, quick: bool = False, cgroup: bool = False) -> Callable:
    """Register a case by its function's name; its docstring names the fault."""

    def register(function: Callable[[Bench], Row]) -> Callable[[Bench], Row]:
        CASES[function.__name__] = Case(function, quick, cgroup)
        return function

    return register


def is_over(state: str) -> bool:
    return state not in {"RUNNING", "COMPLETING", "PENDING", "CONFIGURING"}


def reported(bench: Bench, submitter, fault: str, watcher, cause: str, seconds: float = 120.0) -> Row:
    """The submitter must end with code 1 and name task 2 with this cause."""
    code = submitter.wait(seconds)
    assert code == 1 and re.search(cause, submitter.text), f"exit {code}: {submitter.text}"
    found = re.search(r"tasks failed: 2 \((.*)\)", submitter.text)
    return bench.row(fault, f"reported: {found[1]}", submitter.ended, watcher, submitter)


def done_again(bench: Bench, submitter, fault: str, watcher, said: str, outcome: str, seconds=400.0) -> Row:
    """The submitter must say this line, and all tasks be done in the end."""
    noticed = submitter.said(said, 120)
    code = submitter.wait(seconds)
    assert code == 0, f"exit {code}: {submitter.text}"
    return bench.row(fault, outcome, noticed, watcher, submitter)
