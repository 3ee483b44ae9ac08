"""Acoustic features: what the media expects of a feature extractor, and `mel`, log-mel spectrograms."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import DataError, UsageError, expand_home
from transgan_voice.mel import LogMel


class FeatureExtractor(Protocol):
    """Acoustic features of a sound, and synthesis from them.

    An *analysis* has `frames`, (L, B) float32, the features that networks convert, before normalization, and whatever
    else synthesis needs (phase, F0, aperiodicity). *Packed* features, (L, columns) float32, are what the cache keeps of
    a training recording: the frames, and the columns from which statistics are fitted.
    """

    kind: str
    """`bands` (log magnitudes, low frequencies first) or `cepstra`."""
    rate: int
    """Sample rate in Hz."""
    channels: int
    """B, features of a frame."""
    hop: int
    """Samples from one frame to the next; frame i is centred on sample i * hop."""
    statistic_names: tuple[str, ...]
    """Names of the statistics that `fit_statistics` returns."""

    def analyze(self, samples: np.ndarray) -> Any:
        """Return the analysis of samples (n,) float32: n // hop + 1 frames."""

    def pack(self, analysis: Any) -> np.ndarray:
        """Return the packed features of an analysis."""

    def frames_of(self, packed: Any) -> Any:
        """Return the frames (L, B) of packed features, an array or a tensor."""

    def levels(self, packed: np.ndarray) -> np.ndarray:
        """Return the level of each frame in dB, (L,)."""

    def fit_statistics(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        """Return a speaker's statistics besides mean and deviation of the frames.

        Args:
            packed: (L, columns) all training frames.
            active: (L,) bool, which of them are active.
        """

    def convert(
        self, analysis: Any, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> Any:
        """Return an analysis with converted frames, and everything else converted by statistics.

        Args:
            frames: (L, B) the output of the network.
            source, target: statistics of the source and the target speaker.
        """

    def from_frames(self, frames: np.ndarray, statistics: Mapping[str, Tensor]) -> Any:
        """Return an analysis of frames (L, B) alone; everything else comes from a speaker's statistics."""

    def synthesize(self, analysis: Any) -> np.ndarray:
        """Return the samples of an analysis, (n,) float32."""

    def spectrogram(self, frames: np.ndarray) -> np.ndarray:
        """Return frames (L, B) as an image (H, L), high frequencies first."""


@dataclass(frozen=True)
class MelAnalysis:
    """A log-mel spectrogram and the phase of the sound that it was computed from."""

    frames: np.ndarray
    """(L, B) natural logarithm of the bands' magnitudes."""
    length: int
    """Samples of the sound."""
    phase: Tensor | None = None
    """(n_fft / 2 + 1, L) complex of magnitude 1."""


class MelFeatures:
    """Log-mel spectrograms, synthesized by Griffin-Lim, which starts from the source's phase, or by a neural vocoder.

    The source's spectrum with the change of the bands as a filter would keep the source's harmonics, hence its F0;
    therefore the phase is estimated anew.

    Args:
        bands: mel bands.
        hop: samples from one frame to the next.
        window: samples of a frame.
        iterations: of Griffin-Lim.
        vocoder: the path of a TorchScript or torch.export program, or None for Griffin-Lim.

    Raises:
        UsageError: `window` is less than twice `hop`.
    """

    kind = "bands"
    rate = 16_000
    statistic_names: tuple[str, ...] = ()

    def __init__(self, bands: int, hop: int, window: int, iterations: int, vocoder: str | None):
        if window < 2 * hop:
            raise UsageError(
                f"window = {window} is less than twice hop = {hop}, so that frames do not overlap; "
                f"expected at least {2 * hop}"
            )
        self.mel = LogMel(bands, self.rate, hop=hop, window=window)
        self.channels, self.hop = bands, hop
        self.iterations, self.path = iterations, vocoder

    def analyze(self, samples: np.ndarray) -> MelAnalysis:
        spectrum = self.mel.stft(torch.from_numpy(samples))
        magnitude = spectrum.abs()
        phase = torch.where(magnitude > 0, spectrum / magnitude.clamp_min(1e-20), 1)
        return MelAnalysis(self.mel.of_magnitude(magnitude).numpy(), len(samples), phase)

    def pack(self, analysis: MelAnalysis) -> np.ndarray:
        return analysis.frames

    def frames_of(self, packed: Any) -> Any:
        return packed

    def levels(self, packed: np.ndarray) -> np.ndarray:
        decibels: np.ndarray = 10 * np.log10(np.exp(2 * packed.astype(np.float64)).sum(1))
        return decibels

    def fit_statistics(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        return {}

    def convert(
        self, analysis: MelAnalysis, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> MelAnalysis:
        return replace(analysis, frames=frames)

    def from_frames(self, frames: np.ndarray, statistics: Mapping[str, Tensor]) -> MelAnalysis:
        return MelAnalysis(frames, (len(frames) - 1) * self.hop)

    def synthesize(self, analysis: MelAnalysis) -> np.ndarray:
        frames = torch.from_numpy(analysis.frames)
        if self.path is not None:
            return self._synthesize_by_vocoder(frames, analysis.length)
        samples = self.mel.griffin_lim(self.mel.magnitude(frames), analysis.length, analysis.phase, self.iterations)
        return samples.numpy()

    def spectrogram(self, frames: np.ndarray) -> np.ndarray:
        return frames.T[::-1]

    @cached_property
    def vocoder(self) -> nn.Module:
        """The network in the file that the option `vocoder` names.

        Raises:
            DataError: the file is missing or cannot be loaded.
        """
        path = expand_home(str(self.path))
        if not path.is_file():
            raise DataError(f"vocoder {path}: there is no such file; expected a TorchScript or torch.export program")
        try:
            if path.suffix == ".pt2":
                return torch.export.load(path).module()
            with warnings.catch_warnings():
                # torch.jit is deprecated, but published vocoders are TorchScript files.
                warnings.simplefilter("ignore", FutureWarning)
                loaded: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
        except Exception as error:  # a damaged file can make the loader raise anything
            raise DataError(f"vocoder {path}: cannot be loaded: {str(error).splitlines()[0]}") from None
        return loaded

    @torch.no_grad()
    def _synthesize_by_vocoder(self, frames: Tensor, length: int) -> np.ndarray:
        try:
            samples = self.vocoder(frames.T[None]).flatten().float().numpy()
        except DataError:
            raise
        except Exception as error:
            why = f"failed for input of shape (1, {frames.shape[1]}, {len(frames)}): {str(error).splitlines()[-1]}"
            raise DataError(f"vocoder {self.path}: {why}") from None
        if abs(len(samples) - length) > 2 * self.hop:
            raise DataError(
                f"vocoder {self.path}: returned {len(samples)} samples for {len(frames)} frames; expected {length}"
            )
        padded: np.ndarray = np.pad(samples, (0, max(0, length - len(samples))))[:length]
        return padded
