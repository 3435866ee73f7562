"""Speech synthesis through libespeak-ng (GPL-3), which the wheel `espeakng-loader` carries.

Not a core dependency: only `egs/mini` needs it (extra `[mini]`).
"""

import ctypes
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through the callback before espeak_Synth returns
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
SEED = 1

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def locate() -> tuple[Path, Path]:
    """Paths of the library and of its data.

    Raises:
        InputError: the package is not installed, or its files are gone.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise InputError(
            "espeakng_loader: no such Python package; it synthesises the embedded corpus: "
            "pip install 'espnet_sld[mini]'"
        ) from None
    library, data = Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    for path in (library, data):
        if not path.exists():
            raise InputError(f"{path}: missing; pip install --force-reinstall espeakng-loader")
    return library, data


def version() -> str:
    """Version of the wheel, e.g. `0.2.4`."""
    from importlib.metadata import version as package_version

    locate()
    return package_version("espeakng-loader")


def synthesise(text: str, voice: str, *, rate: int = 175, pitch: int = 50, pitch_range: int = 50):
    """Speak `text`.

    Args:
        text: words.
        voice: espeak-ng voice with an optional variant, e.g. `en-us+f3`.
        rate: words per minute.
        pitch, pitch_range: 0–99.

    Returns:
        (samples (n,) float32 at full scale ±1, sampling rate in Hz): a function of the arguments alone.

    Raises:
        InputError: the package is missing or the voice is unknown.

    espeak-ng carries state from one utterance to the next (the phase of pitch flutter, noise), and
    espeak_Terminate does not clear it. So the library is loaded anew for each utterance, which costs
    about a millisecond, and the same words give the same samples whatever was spoken before.
    """
    library_path, data = locate()
    chunks: list[np.ndarray] = []

    def collect(samples, count, _events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(collect)
    library = ctypes.CDLL(str(library_path))
    try:
        sampling_rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), 0)
        if sampling_rate <= 0:
            raise InputError(f"{data}: espeak-ng cannot read its data; reinstall espeakng-loader")
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()):
            raise InputError(f"espeak-ng has no voice '{voice}'; `espeak-ng --voices=en` lists some")
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        content = text.encode() + b"\0"
        # Noise and breath come from espeak-ng's own generator, which espeak_Initialize seeds with the
        # time of day, and from the C library's.
        library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        ctypes.CDLL(None).srand(SEED)
        library.espeak_Synth(
            content, ctypes.c_size_t(len(content)), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None
        )
        library.espeak_Synchronize()
        library.espeak_Terminate()
    finally:
        _unload(library)
    if not chunks:
        raise InputError(f"espeak-ng said nothing for '{text}' with voice '{voice}'")
    return np.concatenate(chunks).astype(np.float32) / 32768.0, sampling_rate


def _unload(library: ctypes.CDLL) -> None:
    from _ctypes import dlclose

    dlclose(library._handle)
