"""Numbers in words that a reader can take in: two significant digits, since the inputs allow no more."""


def hours_words(hours: tuple[float, float]) -> str:
    """`(1.81, 2.59)` → `1.8–2.6`; one number where both read the same."""
    fast, slow = (_hours(value) for value in hours)
    return fast if fast == slow else f"{fast}–{slow}"


def _hours(value: float) -> str:
    if value < 0.01:
        return "< 0.01"
    return two_digits(value)


def two_digits(value: float) -> str:
    """`0.0437` → `0.044`, `12345` → `12 000`."""
    mantissa, exponent = f"{value:.1e}".split("e")
    if int(exponent) >= 1:
        return f"{float(f'{mantissa}e{exponent}'):,.0f}".replace(",", " ")
    return f"{float(f'{mantissa}e{exponent}'):.{1 - int(exponent)}f}"


def percent(share: float, digits: int = 0) -> str:
    """`0.354` → `35 %`."""
    return f"{100 * share:.{digits}f} %"


def power(value: float) -> str:
    """`6.4e18` → `6.4·10¹⁸`."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'))}"


def exactly(value: float) -> str:
    """`56259` → `56 259`; up to 7 significant digits."""
    return f"{value:,.7g}".replace(",", " ")


def gigabytes(value: float) -> str:
    """`1.44e9` → `1.4 GB`; also MB and TB (powers of ten)."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{two_digits(value / size)} {unit}"
    return "< 1 MB"


def big(value: float) -> str:
    """`843723` → `840 000`, `5.2e8` → `520 million`, `3.3e10` → `33 billion`."""
    for name, size in (("billion", 1e9), ("million", 1e6)):
        if value >= size:
            return f"{two_digits(value / size)} {name}"
    return two_digits(value)
