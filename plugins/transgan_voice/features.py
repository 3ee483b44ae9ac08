"""What a media asks of a feature set, and the one called `mel`: log-mel spectrograms and a way back to a sound."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import DataError, UsageError
from transgan_voice.mel import LogMel


class Features(Protocol):
    """Sounds of one rate as frames, and what of a sound is kept apart from them.

    An *analysis* has `frames`, (L, B) float32, what networks see before it is normalised. *Packed* is what is kept of a
    sound for training, (L, columns) float32: the frames, and what has to be learnt beside them.
    """

    kind: str
    """`bands`, from low to high, or `cepstra`."""
    rate: int
    channels: int
    hop: int
    """Samples from one frame to the next; frame i is centred on sample i hop."""
    names: tuple[str, ...]
    """Of what `learn` returns."""

    def analyse(self, samples: np.ndarray) -> Any:
        """The analysis of (n,) float32; n // hop + 1 frames."""

    def pack(self, analysis: Any) -> np.ndarray:
        """What is kept of it for training."""

    def bands(self, packed: Any) -> Any:
        """The frames in what is packed, an array or a tensor."""

    def levels(self, packed: np.ndarray) -> np.ndarray:
        """(L,) loudness of each frame in dB."""

    def learn(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        """What is to be known of a voice besides means and deviations of the bands, from all of its frames."""

    def converted(
        self, analysis: Any, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> Any:
        """A sound's analysis with other frames, and with what is kept apart moved from one voice to another."""

    def imagined(self, frames: np.ndarray, known: Mapping[str, Tensor]) -> Any:
        """An analysis of frames alone, by a voice of which so much is known."""

    def sound(self, analysis: Any) -> np.ndarray:
        """(n,) float32."""

    def picture(self, frames: np.ndarray) -> np.ndarray:
        """(H, L) to look at, high frequencies first."""


@dataclass(frozen=True)
class MelAnalysis:
    """A sound as it is heard band by band."""

    frames: np.ndarray
    """(L, B) natural logarithm of the bands' magnitudes."""
    length: int
    """Samples."""
    phase: Tensor | None = None
    """(n_fft / 2 + 1, L) complex of length 1."""


class MelFeatures:
    """Bands are all there is. Of the source's phase only the search for a new one begins with it.

    Putting the change of the bands on the source's own spectrum instead keeps the source's harmonics, and with them its
    pitch.
    """

    kind = "bands"
    rate = 16_000
    names: tuple[str, ...] = ()

    def __init__(self, bands: int, hop: int, window: int, iterations: int, vocoder: str | None):
        if window < 2 * hop:
            raise UsageError(f"window = {window} is less than twice hop = {hop}: frames must overlap")
        self.mel = LogMel(bands, self.rate, hop=hop, window=window)
        self.channels, self.hop = bands, hop
        self.iterations, self.path = iterations, vocoder

    def analyse(self, samples: np.ndarray) -> MelAnalysis:
        spectrum = self.mel.stft(torch.from_numpy(samples))
        magnitude = spectrum.abs()
        phase = torch.where(magnitude > 0, spectrum / magnitude.clamp_min(1e-20), 1)
        return MelAnalysis(self.mel.of_magnitude(magnitude).numpy(), len(samples), phase)

    def pack(self, analysis: MelAnalysis) -> np.ndarray:
        return analysis.frames

    def bands(self, packed: Any) -> Any:
        return packed

    def levels(self, packed: np.ndarray) -> np.ndarray:
        decibels: np.ndarray = 10 * np.log10(np.exp(2 * packed.astype(np.float64)).sum(1))
        return decibels

    def learn(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        return {}

    def converted(
        self, analysis: MelAnalysis, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> MelAnalysis:
        return replace(analysis, frames=frames)

    def imagined(self, frames: np.ndarray, known: Mapping[str, Tensor]) -> MelAnalysis:
        return MelAnalysis(frames, (len(frames) - 1) * self.hop)

    def sound(self, analysis: MelAnalysis) -> np.ndarray:
        frames = torch.from_numpy(analysis.frames)
        if self.path is not None:
            return self._by_vocoder(frames, analysis.length)
        made = self.mel.griffin_lim(self.mel.magnitude(frames), analysis.length, analysis.phase, self.iterations)
        return made.numpy()

    def picture(self, frames: np.ndarray) -> np.ndarray:
        return frames.T[::-1]

    @cached_property
    def vocoder(self) -> nn.Module:
        """The network in the file that `vocoder` names. DataError."""
        path = Path(str(self.path)).expanduser()
        if not path.is_file():
            raise DataError(f"vocoder {path}: there is no such file; expected a TorchScript or torch.export program")
        try:
            if path.suffix == ".pt2":
                return torch.export.load(path).module()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # vocoders come as TorchScript all the same
                loaded: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever a damaged file provokes is the file's fault
            raise DataError(f"vocoder {path}: cannot be loaded: {str(error).splitlines()[0]}") from None
        return loaded

    @torch.no_grad()
    def _by_vocoder(self, frames: Tensor, length: int) -> np.ndarray:
        try:
            made = self.vocoder(frames.T[None]).flatten().float().numpy()
        except DataError:
            raise
        except Exception as error:
            why = f"does not take (1, {frames.shape[1]}, {len(frames)}): {str(error).splitlines()[-1]}"
            raise DataError(f"vocoder {self.path}: {why}") from None
        if abs(len(made) - length) > 2 * self.hop:
            raise DataError(f"vocoder {self.path}: made {len(made)} samples of {len(frames)} frames; expected {length}")
        padded: np.ndarray = np.pad(made, (0, max(0, length - len(made))))[:length]
        return padded
