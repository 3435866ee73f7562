"""A stand-in for torchaudio on machines with a CPU-only torch, beside which PyPI's torchaudio does not load.

`espnet2.tasks.{abs_task,mt,lm}` import torchaudio for beamformers that are never built here. Where the
package is absent, `install()` lets `import torchaudio` (and its submodules) succeed; whoever then *uses*
something of it gets an ImportError that says what is missing. An installed torchaudio is left alone.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType


class _Missing:
    """Any attribute of an absent package: attribute access goes deeper, use fails."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> "_Missing":
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _Missing(f"{self._name}.{attribute}")

    def __call__(self, *args, **kwargs):
        package = self._name.partition(".")[0]
        raise ImportError(
            f"{self._name} is needed here, but {package} is not installed (only a placeholder is); "
            f"install {package} in the version that belongs to this torch (tools/gpu.lock)"
        )


class _PlaceholderModule(ModuleType):
    def __getattr__(self, attribute: str) -> _Missing:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return _Missing(f"{self.__name__}.{attribute}")


class PlaceholderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for one package and its submodules."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name: str, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """A spec for the package or one of its submodules, None for anything else."""
        if name == self.package or name.startswith(f"{self.package}."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """An empty module whose attributes are named, not there."""
        return _PlaceholderModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def install(package: str = "torchaudio", *, only_if_absent: bool = True) -> bool:
    """Install the placeholder for `package`; True if it stands in now.

    Args:
        package: name of the top-level package.
        only_if_absent: leave an installed package alone (False: shadow it in this process, used for
            `g2p_en`, whose import tries to download).
    """
    for finder in sys.meta_path:
        if isinstance(finder, PlaceholderFinder) and finder.package == package:
            return True
    if package in sys.modules:
        return False
    if not only_if_absent:
        sys.meta_path.insert(0, PlaceholderFinder(package))
        return True
    if importlib.util.find_spec(package) is not None:
        return False
    _settle_availability(package)
    sys.meta_path.append(PlaceholderFinder(package))
    return True


def _settle_availability(package: str) -> None:
    """Let transformers note that the package is absent, before the placeholder stands."""
    with contextlib.suppress(ImportError, AttributeError):
        from transformers.utils import import_utils

        getattr(import_utils, f"is_{package}_available")()


def quiet_espnet() -> None:
    """Make `import espnet2.tasks…` work without torchaudio, fast, and without a download attempt."""
    install("torchaudio")
    install("g2p_en", only_if_absent=False)
