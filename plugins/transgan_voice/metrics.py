"""How good converted voices are: on whole held-out recordings, in features and in what is written to files."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import torch
from pydantic import Field

from transgan.api import Domain, Metric, Options, Sample, Tensor, Translation
from transgan_voice import measure
from transgan_voice.hearing import Heard, Hearing, closed_forms, together
from transgan_voice.start import maps_of
from transgan_voice.warp import Array


class ConversionOptions(Options):
    """Options of the metric `conversion`."""

    sentences: int = Field(12, ge=1)
    """Held-out recordings measured each way, at most."""
    trained_on: int = Field(100, ge=2)
    """Real training recordings of each speaker, at most: for classifiers, and the closed forms of `mcd_cepstra`."""


class Conversion(Metric):
    """Distortion to the truth, phones, pitch and speaker of converted recordings, beside what needs no training.

    Each figure is taken on whole recordings as they are written, vocoder and all; `mcd_features` before the vocoder.
    `mcd` is the mel-cepstral distortion to the true conversion, by the protocol that result.json spells out, with
    `mcd_low` and `mcd_high` around it (bootstrap over recordings, 95%). The truth is known of drawn voices, frame by
    frame, and of tasks with `paired = "held_out"`, whose frames are aligned by DTW. Beside it, by the same protocol:
    `_of_source` is doing nothing, `_of_mean_variance` and `_of_baseline` (vocal-tract-length warp and Gaussian
    transport) are unpaired closed forms, `_of_vocoder` the true features through the vocoder, a floor; `mcd_cepstra` is
    that of closed forms found and applied on the compared cepstra themselves, the same for all recipes.

    `phone_accuracy` is that of a nearest-neighbour classifier made from real frames of the target speaker, where labels
    are known, `_of_real` its accuracy on real speech of the target; a speaker's share alone says nothing of what is
    said. `speaker_share` is how many conversions a linear classifier of spectra gives to the target. `variance_ratio`
    (1 is right) and `modulation_distance` (dB) show over-smoothing, which distortion rewards; `f0_hz` is the geometric
    mean of the pitch and `f0_spread` the standard deviation of its logarithm. These compare with the truth or, where it
    is not known, with held-out speech of the target. What cannot be known is left out.
    """

    Options = ConversionOptions
    better = {
        "mcd": "lower",
        "mcd_features": "lower",
        "phone_accuracy": "higher",
        "f0_error_cents": "lower",
        "voicing_error": "lower",
        "speaker_share": "higher",
        "modulation_distance": "lower",
    }

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.domains, self.tasks = domains, tasks
        self.media: Any = next(iter(domains.values())).media
        self.hear = Hearing()
        names = list(dict.fromkeys(name for task in tasks.values() for name in task))
        real = {name: self._real(domains[name].samples) for name in names}
        self.phones = {name: _phones(each) for name, each in real.items()}
        frames = {name: np.concatenate([heard.spoken for _, heard in each]) for name, each in real.items()}
        self.speakers = {task: measure.Speakers({n: frames[n] for n in each}) for task, each in tasks.items()}
        self.aligned: set[str] = set()
        pairs = {pair for each in tasks.values() for pair in permutations(each, 2)}
        self.closed = {(a, b): closed_forms(frames[a], frames[b]) for a, b in sorted(pairs)}
        self.maps = maps_of(domains, list(domains), pairs, "warp_transport")

    def _real(self, samples: Sequence[Sample]) -> list[tuple[Sample, Heard]]:
        chosen = samples[: self.options.trained_on]
        return [(sample, self.hear(self.media.read(sample.location))) for sample in chosen]

    def reset(self) -> None:
        self.values: dict[Translation, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.heard: dict[Translation, dict[str, list[Heard]]] = defaultdict(lambda: defaultdict(list))
        self.counts: dict[Translation, int] = defaultdict(int)

    @torch.no_grad()
    def update(  # type: ignore[override]
        self,
        translation: Translation,
        samples: list[Sample],
        true_samples: list[Sample | None],
        translate: Callable[..., Tensor],
    ) -> None:
        for i, (sample, true) in enumerate(zip(samples, true_samples, strict=True)):
            if self.counts[translation] >= self.options.sentences:
                return
            self.counts[translation] += 1
            self._one(translation, sample, true, partial(translate, row=i))

    def _one(
        self, translation: Translation, sample: Sample, true: Sample | None, translate: Callable[[Tensor], Tensor]
    ) -> None:
        a, b, media = translation.source, translation.target, self.media
        sound = media.read(sample.location)
        x, undo = media.to_model(sound, 1, True, a)
        baseline = torch.from_numpy(self.maps[a, b](x.mT.double().numpy())).float().mT
        features = {"": translate(x).cpu(), "of_mean_variance": x, "of_baseline": baseline}
        sounds = {name: media.from_model(y, undo, b) for name, y in features.items()}
        sounds["of_source"] = sound
        likeness = self.domains[b].held_out or self.domains[b].samples
        like = true or likeness[(self.counts[translation] - 1) % len(likeness)]
        sounds["of_real"] = media.read(like.location)
        heard = {name: self.hear(each) for name, each in sounds.items()}
        for name in ("", "of_source", "of_baseline", "of_real"):
            self.heard[translation][name].append(heard[name])
        values = self.values[translation]
        for name in ("", "of_source", "of_real"):
            who = self.speakers[translation.task](heard[name].spoken)
            values[_named("speaker_share", name)].append(who == b)
        if true is None:
            return
        real, undo_real = media.to_model(sounds["of_real"], 1, True, b)
        heard["of_vocoder"] = self.hear(media.from_model(real, undo_real, b))
        for figure, value in self._distortions(translation, heard, _drawn(true)).items():
            values[figure].append(value)
        for name, value in self._feature_distortions(
            features, undo.analysis, undo_real.analysis, b, _drawn(true)
        ).items():
            values[_named("mcd_features", name)].append(value)
        if _drawn(true):
            self._truth(values, heard, true.location.truth(), self.phones[b])

    def _distortions(self, translation: Translation, heard: Mapping[str, Heard], aligned: bool) -> dict[str, float]:
        """Mean distances over frames that belong together; of pitch too, where only an alignment tells which do."""
        real, source = heard["of_real"], heard["of_source"]
        self.aligned.add("frame by frame" if aligned else "aligned by DTW")
        found = {}
        for name in (each for each in heard if each != "of_real"):
            i, j = together((heard[name].cepstra, heard[name].active), (real.cepstra, real.active), aligned)
            found[_named("mcd", name)] = float(measure.distortion(heard[name].cepstra[i], real.cepstra[j]).mean())
            made, true = heard[name].f0, real.f0
            if name in ("", "of_source") and not aligned and made is not None and true is not None:
                cents, _ = measure.f0_errors(made[i], true[j])
                if np.isfinite(cents):
                    found[_named("f0_error_cents", name)] = cents
        for name, (matrix, shift) in self.closed[translation.source, translation.target].items():
            moved = source.cepstra @ matrix.T + shift
            found[_named("mcd_cepstra", name)] = _distortion(
                (moved, source.active), (real.cepstra, real.active), aligned
            )
        return found

    def _feature_distortions(
        self, features: Mapping[str, Tensor], source: Any, real: Any, domain: str, aligned: bool
    ) -> dict[str, float]:
        """The same on features, before the vocoder; `source` and `real` are analyses of recordings."""
        front, media = self.media.front, self.media
        loud, loud_real = (measure.active(np.asarray(front.levels(front.pack(each)))) for each in (source, real))
        frames = {n: media.restored(y[0, :, : len(source.frames)], domain) for n, y in features.items()}
        frames["of_source"] = source.frames
        truth = self._cepstra(real.frames), loud_real
        return {name: _distortion((self._cepstra(each), loud), truth, aligned) for name, each in frames.items()}

    def _cepstra(self, frames: Array) -> Array:
        return frames if self.media.kind == "cepstra" else measure.cepstra_of_bands(frames.astype(np.float64))

    def _truth(self, values: dict[str, list[float]], heard: Mapping[str, Heard], truth: Any, phones: Any) -> None:
        """What only drawn voices tell: phones and pitch."""
        known = truth.at(heard[""].times)
        spoken = known.labels > 0
        for name in ("", "of_source", "of_baseline", "of_real"):
            right = phones(heard[name].cepstra[spoken]) == known.labels[spoken]
            values[_named("phone_accuracy", name)].append(float(right.mean()))
        for name in ("", "of_source", "of_real"):
            f0 = heard[name].f0
            if f0 is not None:
                cents, wrong = measure.f0_errors(f0, known.f0)
                values[_named("voicing_error", name)].append(wrong)
                if np.isfinite(cents):
                    values[_named("f0_error_cents", name)].append(cents)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {translation: self._figures(translation) for translation in self.values}

    def _figures(self, translation: Translation) -> dict[str, float]:
        values = self.values[translation]
        figures = {name: float(np.mean(each)) for name, each in values.items() if each}
        if "mcd" in values:
            figures["mcd_low"], figures["mcd_high"] = measure.interval(np.array(values["mcd"]))
        heard = self.heard[translation]
        spoken = {name: [x.spoken for x in each] for name, each in heard.items()}
        for name in ("", "of_source", "of_baseline"):
            figures[_named("variance_ratio", name)] = measure.variance_ratio(spoken[name], spoken["of_real"])
            distance = measure.modulation_distance(spoken[name], spoken["of_real"])
            if np.isfinite(distance):
                figures[_named("modulation_distance", name)] = distance
        for name in ("", "of_source", "of_real"):
            pitch = np.concatenate([x.f0[x.f0 > 0] for x in heard[name] if x.f0 is not None] or [np.empty(0)])
            if len(pitch):
                figures[_named("f0_hz", name)] = float(np.exp(np.log(pitch).mean()))
                figures[_named("f0_spread", name)] = float(np.log(pitch).std())
        return figures

    def protocol(self) -> dict[str, str]:
        how = " and ".join(sorted(self.aligned)) if getattr(self, "aligned", None) else ""
        if not how:
            return {}
        orders = f"c1-c24, frames within {measure.BELOW:.0f} dB of the 97th percentile, {how}"
        features = "the features themselves" if self.media.kind == "cepstra" else "the mel bands by DCT"
        said = {
            "mcd": f"MCD-TG: written wav at 16 kHz every 5 ms, {self.hear.front}, {orders}",
            "mcd_features": f"before the vocoder, {features}, {orders}",
            "mcd_cepstra": f"closed forms on the cepstra that are compared, {self.hear.front}, no vocoder, {orders}",
        }
        if "aligned by DTW" in self.aligned and measure.has_world():
            said["f0_error_cents"] = (
                "DIO and StoneMask, frames aligned by DTW of cepstra where both are voiced; two people's melodies "
                "differ where everything is right, too"
            )
        return said


def _named(figure: str, name: str) -> str:
    return f"{figure}_{name}" if name else figure


def _drawn(sample: Sample) -> bool:
    """Whether the truth is known sample by sample."""
    return hasattr(sample.location, "truth")


def _phones(real: list[tuple[Sample, Heard]]) -> measure.NearestNeighbours | None:
    if not all(_drawn(sample) for sample, _ in real):
        return None
    labels = np.concatenate([sample.location.truth().at(heard.times).labels for sample, heard in real])
    frames = np.concatenate([heard.cepstra for _, heard in real])
    return measure.NearestNeighbours(frames[labels > 0], labels[labels > 0])


def _distortion(made: tuple[Array, Array], real: tuple[Array, Array], aligned: bool) -> float:
    """The mean over frames that belong together, of cepstra and active frames each."""
    i, j = together(made, real, aligned)
    return float(measure.distortion(made[0][i], real[0][j]).mean())


class FeatureDistanceOptions(Options):
    """Options of the metric `feature_distance`."""

    frames: int = Field(1500, ge=50)
    """Frames of either side that are compared, at most."""
    together: int = Field(4, ge=1)
    """Successive frames that count as one point, so that movement counts too."""


class FeatureDistance(Metric):
    """How far conversions are from real held-out speech of the target, no pair of which is used: energy distance.

    Of the features as networks see them, in windows of a few frames (Szekely and Rizzo, 2013). It needs no truth, so a
    model may be chosen by it: `[evaluate] keep_best = "feature_distance"`. It is 0 for the same distribution.
    """

    Options = FeatureDistanceOptions
    better = {"feature_distance": "lower"}

    def reset(self) -> None:
        self.points: dict[Translation, list[tuple[Array, Array, Array]]] = defaultdict(list)

    def update(self, translation: Translation, source: Tensor, fake: Tensor, target: Tensor) -> None:  # type: ignore[override]
        self.points[translation].append((self._points(source), self._points(fake), self._points(target)))

    def _points(self, x: Tensor) -> Array:
        """(N, B, T) as (N * T / together, B * together)."""
        frames = x.shape[-1] // self.options.together * self.options.together
        parts = x[..., :frames].unfold(-1, self.options.together, self.options.together)
        points: Array = parts.permute(0, 2, 1, 3).flatten(2).flatten(0, 1).double().cpu().numpy()
        return points

    def compute(self) -> dict[Translation, dict[str, float]]:
        found = {}
        for translation, parts in self.points.items():
            source, fake, target = (self._some(np.concatenate(each)) for each in zip(*parts, strict=True))
            scale = 1 / np.sqrt(source.shape[1])
            found[translation] = {
                "feature_distance": measure.energy_distance(fake * scale, target * scale),
                "feature_distance_of_source": measure.energy_distance(source * scale, target * scale),
            }
        return found

    def _some(self, points: Array) -> Array:
        some: Array = points[np.random.default_rng(0).permutation(len(points))[: self.options.frames]]
        return some
