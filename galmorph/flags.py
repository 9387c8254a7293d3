"""What can be said of one row, as a bit mask: no row of a result is ever dropped."""

import enum


class Flags(enum.IntFlag):
    """Bits of the ``flags`` column.

    The first byte holds reasons for which a row has no label; the others are remarks on a row
    that has one.
    """

    NONE = 0
    READ_FAILED = 1 << 0
    """The file could not be read."""
    BAD_PIXELS_REFUSED = 1 << 1
    """Bad pixels were present and the policy was to refuse them, or no good pixel was left."""
    CONSTANT = 1 << 2
    """The field of view is empty or has one value everywhere."""
    ENCODE_FAILED = 1 << 3
    """The encoder gave a value that is not finite."""
    READER_CRASHED = 1 << 4
    """The process that read the file crashed, took too long, or ran out of memory."""
    NOT_COVERED = 1 << 5
    """The survey has no image there: the tile is empty."""
    NOT_ANSWERED = 1 << 6
    """A survey's service or a bucket gave no image, or another than the one asked for."""
    HEAD_FAILED = 1 << 7
    """The head gave numbers that are not finite, or probabilities that do not sum to one."""

    BAD_PIXELS_FILLED = 1 << 8
    """Bad pixels (NaN, inf, masked) were interpolated or set to zero."""
    MANY_BAD_PIXELS = 1 << 9
    """More bad pixels than the stated fraction were filled: do not trust the label."""
    OUTSIDE_COLOUR_DOMAIN = 1 << 10
    """Fewer than three bands: colours that the weights never saw."""
    PADDED = 1 << 11
    """The field of view reaches beyond the frame; the rest was padded."""
    UPSAMPLED = 1 << 12
    """The field of view has fewer pixels than the encoder takes."""
    ASSUMED_STRETCH = 1 << 13
    """The header did not say which survey this is; a general stretch was used."""
    NO_CENTRAL_SOURCE = 1 << 14
    """No source was found at the centre, so its size could not be measured."""
    ATYPICAL = 1 << 15
    """The embedding lies outside nearly all of the training data."""
    SATURATED = 1 << 16
    """Many pixels at the top of the range."""
    RESAMPLED = 1 << 17
    """Bands of coarser pixels, or turned ones, were resampled to the finest."""
    BADLY_FRAMED = 1 << 18
    """The galaxy looks off-centre, cut off, or like a small one beside a big one."""


NO_LABEL = Flags(0xFF)  # a row with any of these bits has no label
_NAMES = {flag.value: str(flag.name).lower() for flag in Flags}

ADVICE = {  # what to do about a flag
    "atypical": "little like the galaxies that the model was checked on: look at these",
    "padded": "the field reaches beyond the frame: give larger cutouts, or a smaller --crop",
    "upsampled": "fewer pixels than the network takes: give cutouts with finer pixels",
    "assumed_stretch": "the header names no survey: choose --stretch",
    "outside_colour_domain": "fewer than three bands: give three, or do not trust the colours",
    "bad_pixels_filled": "bad pixels were filled: --nan refuse leaves such cutouts out",
    "many_bad_pixels": "do not trust these labels",
    "badly_framed": "off-centre, cut off, or beside a bigger one: check position and frame",
    "no_central_source": "nothing at the centre: check the positions",
    "resampled": "bands of unlike pixels were brought to the finest: fine detail is interpolated",
    "saturated": "bright beyond the range: see galmorph inspect, choose another --stretch",
}


def decode_flags(flags: int) -> list[str]:
    """Names of the bits that are set.

    Parameters
    ----------
    flags : int
        One value of the ``flags`` column.

    Returns
    -------
    list of str
        Lower-case names, lowest bit first; empty for 0.

    Raises
    ------
    TypeError
        A whole column, or no number at all.
    ValueError
        Not a whole number, or bits that are no flags.

    Examples
    --------
    >>> from galmorph import decode_flags
    >>> decode_flags(257)
    ['read_failed', 'bad_pixels_filled']
    """
    if getattr(flags, "ndim", 0) or isinstance(flags, (list, tuple)):
        raise TypeError('decode_flags takes one value; of a column: map(decode_flags, t["flags"])')
    value = int(flags)
    if value != flags or value < 0 or value & ~sum(_NAMES):
        raise ValueError(f"{flags!r} is no value of the flags column")
    return [name for bit, name in _NAMES.items() if bit & value]
