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
from transgan_voice.hifigan import HifiGan, is_program, read_hifigan
from transgan_voice.mel import LogMel
from transgan_voice.world import MIN_SAMPLES, log_f0_of, log_f0_statistics, moved_f0, pyworld


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

    def at(self, analysis: Any, frames: np.ndarray, like: Any) -> Any:
        """Return an analysis of other moments: at these numbers of frames (K,), of as many samples as `like` has."""

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
    samples: np.ndarray | None = None
    """The sound, (n,), where its pitch is to be moved."""
    f0: np.ndarray | None = None
    """(L,) Hz, 0 where unvoiced, where its pitch is to be moved."""
    order: np.ndarray | None = None
    """Numbers of the frames of the sound that `frames` are, where they are not all in order."""


class MelFeatures:
    """Log-mel spectrograms, synthesized by Griffin-Lim, which starts from the source's phase, or by a neural vocoder.

    The source's spectrum with the change of the bands as a filter would keep the source's harmonics, hence its F0;
    therefore the phase is estimated anew.

    Args:
        bands: mel bands.
        hop: samples from one frame to the next.
        window: samples of a frame.
        iterations: of Griffin-Lim.
        vocoder: the path of a TorchScript or torch.export program, or of weights of HiFi-GAN, or None for Griffin-Lim.
        rate: sample rate in Hz.
        top: upper edge of the highest band in Hz; half of the sample rate by default.
        moved: whether Griffin-Lim starts from the phase of the source with its F0 moved, by WORLD, to the mean and
            deviation of the target's.

    Raises:
        UsageError: `window` is less than twice `hop`.
    """

    kind = "bands"

    def __init__(
        self,
        bands: int,
        hop: int,
        window: int,
        iterations: int,
        vocoder: str | None,
        rate: int = 16_000,
        top: float | None = None,
        moved: bool = False,
    ):
        if window < 2 * hop:
            raise UsageError(
                f"window = {window} is less than twice hop = {hop}, so that frames do not overlap; "
                f"expected at least {2 * hop}"
            )
        self.rate = rate
        self.mel = LogMel(bands, rate, hop=hop, window=window, top=top)
        self.channels, self.hop = bands, hop
        self.iterations, self.path = iterations, vocoder
        self.moved = moved and vocoder is None
        self.world: Any = pyworld('melody = "moved"') if self.moved else None
        self.statistic_names: tuple[str, ...] = ("log_f0",) if self.moved else ()

    def analyze(self, samples: np.ndarray) -> MelAnalysis:
        spectrum = self.mel.stft(torch.from_numpy(samples))
        magnitude = spectrum.abs()
        analysis = MelAnalysis(self.mel.of_magnitude(magnitude).numpy(), len(samples), _phase(spectrum))
        return replace(analysis, samples=samples, f0=self._f0(samples)) if self.moved else analysis

    def _f0(self, samples: np.ndarray) -> np.ndarray:
        """Return F0 in Hz of each frame, (L,), 0 where unvoiced: DIO and StoneMask."""
        x = _padded(samples)
        rough, times = self.world.dio(x, self.rate, frame_period=1000 * self.hop / self.rate)
        f0: np.ndarray = self.world.stonemask(x, rough, times, self.rate)
        count = len(samples) // self.hop + 1
        return np.pad(f0, (0, max(0, count - len(f0))))[:count]

    def pack(self, analysis: MelAnalysis) -> np.ndarray:
        if not self.moved:
            return analysis.frames
        f0 = np.zeros(len(analysis.frames)) if analysis.f0 is None else analysis.f0
        return np.column_stack([log_f0_of(f0).astype(np.float32), analysis.frames])

    def frames_of(self, packed: Any) -> Any:
        return packed[:, 1:] if self.moved else packed

    def levels(self, packed: np.ndarray) -> np.ndarray:
        decibels: np.ndarray = 10 * np.log10(np.exp(2 * self.frames_of(packed).astype(np.float64)).sum(1))
        return decibels

    def fit_statistics(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        return {"log_f0": log_f0_statistics(packed[:, 0])} if self.moved else {}

    def convert(
        self, analysis: MelAnalysis, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> MelAnalysis:
        if analysis.samples is None or analysis.f0 is None:
            return replace(analysis, frames=frames)
        f0 = moved_f0(analysis.f0, source, target)
        phase = _phase(self.mel.stft(torch.from_numpy(self._spoken_at(analysis.samples, analysis.f0, f0))))
        if analysis.order is not None:
            phase = phase[:, torch.from_numpy(analysis.order)]
        return replace(analysis, frames=frames, phase=phase)

    def _spoken_at(self, samples: np.ndarray, f0: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return samples (n,) float32 with another F0, by WORLD's analysis and synthesis; both F0 are (L,) in Hz."""
        x, period = _padded(samples), 1000 * self.hop / self.rate
        f0, wanted = (np.ascontiguousarray(each, dtype=np.float64) for each in (f0, wanted))
        times = np.arange(len(f0)) * period / 1000
        envelope = self.world.cheaptrick(x, f0, times, self.rate)
        aperiodicity = self.world.d4c(x, f0, times, self.rate)
        spoken = self.world.synthesize(wanted, envelope, aperiodicity, self.rate, period).astype(np.float32)
        fitted: np.ndarray = np.pad(spoken, (0, max(0, len(samples) - len(spoken))))[: len(samples)]
        return fitted

    def at(self, analysis: MelAnalysis, frames: np.ndarray, like: MelAnalysis) -> MelAnalysis:
        phase = None if analysis.phase is None else analysis.phase[:, torch.from_numpy(frames)]
        return MelAnalysis(analysis.frames[frames], like.length, phase, analysis.samples, analysis.f0, frames)

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
            raise DataError(f"vocoder {path}: there is no such file; expected a program or weights of HiFi-GAN")
        if path.suffix != ".pt2" and not is_program(path):
            network = read_hifigan(path)
            if (network.bands, network.hop) != (self.channels, self.hop):
                raise DataError(
                    f"vocoder {path}: takes {network.bands} bands every {network.hop} samples; the media has "
                    f"{self.channels} every {self.hop}: set bands = {network.bands}, hop = {network.hop}, and "
                    "window, rate and top to those that the vocoder was trained with"
                )
            return network
        try:
            if path.suffix == ".pt2":
                return torch.export.load(path).module()
            # torch.jit is deprecated, but published vocoders are TorchScript files. The filter stays: this may be one
            # of several threads, and catch_warnings changes the filters of all.
            warnings.filterwarnings("ignore", "`torch.jit.load` is ", FutureWarning)
            loaded: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
        except Exception as error:  # a damaged file can make the loader raise anything
            raise DataError(f"vocoder {path}: cannot be loaded: {str(error).splitlines()[0]}") from None
        return loaded

    @torch.no_grad()
    def _synthesize_by_vocoder(self, frames: Tensor, length: int) -> np.ndarray:
        try:
            samples = self.vocoder(frames.T[None]).flatten().float().numpy()
            if isinstance(self.vocoder, HifiGan):
                samples = samples[self.hop // 2 :]  # its frames begin where ours are centred
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


def _phase(spectrum: Tensor) -> Tensor:
    magnitude = spectrum.abs()
    return torch.where(magnitude > 0, spectrum / magnitude.clamp_min(1e-20), 1)


def _padded(samples: np.ndarray) -> np.ndarray:
    """Return samples as WORLD takes them: float64, and not too few."""
    return np.ascontiguousarray(np.pad(samples, (0, max(0, MIN_SAMPLES - len(samples)))), dtype=np.float64)
