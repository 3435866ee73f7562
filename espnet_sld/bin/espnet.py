"""Run a stock ESPnet program where torchaudio is absent: `python -m espnet_sld.bin.espnet MODULE [args]`."""

import runpy
import sys

from espnet_sld.errors import InputError

USAGE = """usage: python -m espnet_sld.bin.espnet MODULE [arguments of MODULE]

Runs an unmodified ESPnet program (e.g. espnet2.bin.mt_train) with a placeholder for torchaudio where
that package is not installed.

example:
  python -m espnet_sld.bin.espnet espnet2.bin.mt_train --print_config"""


def main(argv: list[str] | None = None) -> int:
    """Run `argv[0]` as `__main__` with the rest of `argv` as its arguments."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    module = argv[0]
    if not (module.startswith(("espnet2.", "espnet.")) or module in {"espnet", "espnet2"}):
        raise InputError(f"{module}: not an ESPnet module; name one such as espnet2.bin.mt_train")

    from espnet_sld.tasks.torchaudio_placeholder import install

    install("torchaudio")
    sys.argv = [module, *argv[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    # Not cli.run: ESPnet's programs set up logging themselves.
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
