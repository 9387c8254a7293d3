"""Every exception and warning of galmorph.

Each is also a builtin, so that code that knows nothing of galmorph can catch it.
"""


class GalmorphError(Exception):
    """Base of every exception that galmorph raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its message.
        return str(self.args[0]) if self.args else ""


class GalmorphWarning(UserWarning):
    """Base of every warning that galmorph gives."""


class ImageError(GalmorphError, OSError):
    """A file cannot be turned into an array.

    Parameters
    ----------
    reason : str
        One sentence: what is wrong and the way out.
    path : str, optional
        The file, named in front of the reason.
    """

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.reason = reason
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return type(self), (self.reason, self.path)


class UnreadableImageError(ImageError):
    """The file is damaged, truncated, not an image, or may not be read."""


class UnsupportedImageError(ImageError):
    """The file can be read but is not of a kind that galmorph takes."""


class ImageTooLargeError(ImageError):
    """The file would need more pixels or bytes than the stated bound."""


class ReaderCrashedError(ImageError):
    """The process that read the file died, took too long, or ran out of memory."""


class NotCoveredError(ImageError):
    """A survey has no image of that position."""


class NotAnsweredError(ImageError):
    """The service of a survey or bucket gave no image, or another one than was asked for."""


class SurveyError(GalmorphError, OSError):
    """The service of a survey answers nothing at all."""


class AmbiguousShapeError(GalmorphError, ValueError):
    """An array has axes that could mean two things."""


class BandError(GalmorphError, ValueError):
    """Band names are missing or are not among those in the file."""


class PixelError(GalmorphError, ValueError):
    """Pixels that cannot be classified."""


class CatalogueError(GalmorphError, ValueError):
    """A catalogue or one of its columns cannot be used."""


class TableFormatError(GalmorphError, ValueError):
    """An output format that does not exist or cannot hold the result."""


class OutputError(GalmorphError, OSError):
    """A result cannot be written: no such folder, not permitted, the disk is full."""


class ResumeError(GalmorphError, RuntimeError):
    """A partial result does not belong to this run."""


class WeightsError(GalmorphError, RuntimeError):
    """Weights cannot be had or used."""


class UnknownModelError(WeightsError, KeyError):
    """The manifest has no entry of that name."""


class ManifestError(WeightsError, ValueError):
    """The manifest does not follow its schema."""


class DownloadError(WeightsError, OSError):
    """The Hub did not deliver a file."""


class OfflineError(WeightsError, OSError):
    """The weights are not on this machine and the network is off."""


class ChecksumError(WeightsError, OSError):
    """A weights file is not the published one."""


class CheckpointError(WeightsError, ValueError):
    """A checkpoint has a layout that galmorph does not know."""


class UnknownHeadError(GalmorphError, KeyError):
    """The model has no head of that name."""


class OptionError(GalmorphError, ValueError):
    """An option has a value that it cannot have, or one that does not go with another."""


class DeviceError(GalmorphError, RuntimeError):
    """The device asked for cannot be used."""


class MissingExtraError(GalmorphError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package : str
        The missing package.
    extra : str
        The extra of galmorph that brings it.
    purpose : str
        What it is needed for, as in "to write Parquet".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is needed {purpose}; install it with: pip install '.[{extra}]' "
            f"(or pip install {package})"
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.package, self.extra, self.purpose)


class TrainingError(GalmorphError, RuntimeError):
    """Training cannot go on."""
