"""Figures of conversions: against a truth that is known, and where only a warp of time leads from one to the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="drawn voices need scipy")

import soundfile
from transgan_voice import measure
from transgan_voice.audio import read_sound
from transgan_voice.hearing import Heard, Hearing, closed_forms, together
from transgan_voice.metrics import Conversion, ConversionOptions
from transgan_voice.sources import DrawnVoice, speaker

from transgan.api import Translation
from transgan.data.domains import Domains
from transgan.engine.evaluate import true_translations
from transgan.plan import Plan

DATA = Path(__file__).resolve().parents[3] / "shared/data/speech"
RECIPE = """
[data]
source = "folders"
root = "{root}"
media = {{ use = "voice", bands = 32, hop = 256, window = 1024, iterations = 2, excerpt = 48 }}
size = 16
[domains]
anna = {{ path = "train/anna", held_out = "test/anna" }}
bert = {{ path = "train/bert", held_out = "test/bert" }}
[tasks]
voice = {{ between = ["anna", "bert"], paired = {paired} }}
[train]
steps = 1
[generators.residual_1d]
width = 4
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""
THERE = Translation("voice", "anna", "bert")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Anna and Bert train on sentences of their own; Bert's held-out ones are Anna's own after a silence."""
    root = tmp_path_factory.mktemp("recordings")

    def write(name: str, samples: np.ndarray) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, samples, 16_000)

    for i in range(3):
        write(f"train/anna/{i}.wav", DrawnVoice(0, 2 * i, speaker("low", 1.1))())
        write(f"train/bert/{i}.wav", DrawnVoice(0, 2 * i + 1, speaker("high", 1.1))())
    said = DrawnVoice(0, 10, speaker("low", 1.1))()
    write("test/anna/a.wav", said)
    write("test/bert/a.wav", np.concatenate([np.zeros(8_000, np.float32), said]))
    return root


def figures_of(plan: Plan, translate: Callable[..., Tensor]) -> tuple[dict[str, float], dict[str, str]]:
    domains = Domains(plan)
    metric = Conversion(ConversionOptions(trained_on=3))
    metric.prepare(domains.as_metrics_see(16, "cpu"), {"voice": ["anna", "bert"]}, 0)
    metric.reset()
    samples = domains["anna"].held_out
    metric.update(THERE, samples, true_translations(domains, THERE, samples), translate)
    return metric.compute()[THERE], metric.protocol()


def test_recordings_that_differ_in_time_alone_are_as_good_as_equal(
    recordings: Path, planned: Callable[..., Plan]
) -> None:
    figures, protocol = figures_of(planned(RECIPE.format(root=recordings, paired='"held_out"')), lambda x, row: x)
    assert "aligned by DTW" in protocol["mcd"] and "frame by frame" not in protocol["mcd"]
    assert figures["mcd_of_source"] < 0.5 < 2 < figures["mcd"] < figures["mcd_of_mean_variance"] + 1e-6
    assert figures["mcd_cepstra_of_baseline"] > 2  # it moves Anna's voice to where Bert trained, away from the truth
    assert figures["variance_ratio_of_source"] == pytest.approx(1, abs=0.1)
    assert (figures["speaker_share_of_source"], figures["speaker_share_of_real"]) == (0.0, 0.0)  # Bert is Anna here
    assert not {"phone_accuracy", "voicing_error"} & figures.keys()
    if measure.has_world():
        assert figures["f0_error_cents_of_source"] < 20 and "aligned by DTW" in protocol["f0_error_cents"]
        assert figures["f0_hz_of_source"] == pytest.approx(figures["f0_hz_of_real"], rel=0.01)
        assert figures["f0_spread_of_source"] == pytest.approx(figures["f0_spread_of_real"], rel=0.1)


def test_where_no_truth_is_known_conversions_stand_beside_held_out_speech(
    recordings: Path, planned: Callable[..., Plan]
) -> None:
    figures, protocol = figures_of(planned(RECIPE.format(root=recordings, paired="false")), lambda x, row: x)
    assert not protocol and not any(name.startswith(("mcd", "f0_error")) for name in figures)
    assert {"speaker_share", "variance_ratio", "modulation_distance_of_source"} <= figures.keys()
    assert figures["variance_ratio_of_source"] == pytest.approx(1, abs=0.1)


def test_a_truth_that_is_aligned_is_measured_frame_by_frame(planned: Callable[..., Plan]) -> None:
    """Drawn sentences are the same moment for moment: an oracle that knows them leaves nothing but the vocoder."""
    drawn = RECIPE.replace('"folders"\nroot = "{root}"', '{{ use = "drawn_voices", count = 4 }}\nheld_out = 0.3')
    for name, who in (("anna", "low"), ("bert", "high")):
        drawn = drawn.replace(f'{{{{ path = "train/{name}", held_out = "test/{name}" }}}}', f'"{who}"')
    plan = planned(drawn.format(paired="false"))
    domains = Domains(plan)
    sample = domains["anna"].held_out[0]
    true = domains.source.counterpart(sample, "low", "high")
    assert true is not None
    media = domains.media_at(16)
    domains.learn()
    x, _ = media.to_model(media.read(true.location), 1, True, "bert")
    figures, protocol = figures_of(plan, lambda _, row: x)
    assert "frame by frame" in protocol["mcd"] and "f0_error_cents" not in protocol
    assert figures["mcd_features"] < 1e-3 < figures["mcd_features_of_source"]
    assert figures["mcd"] == pytest.approx(figures["mcd_of_vocoder"], rel=0.2)
    assert figures["mcd"] < figures["mcd_of_source"]
    assert figures["phone_accuracy_of_real"] > figures["phone_accuracy_of_source"]


def test_frames_that_belong_together() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 3))
    held = np.repeat(a, [1, 1, 2, 1, 3, 1], axis=0)
    loud = np.array([False, True, True, True, True, True])
    i, j = together((a, loud), (held, np.repeat(loud, [1, 1, 2, 1, 3, 1])), False)
    assert (i.tolist(), j.tolist()) == ([1, 2, 2, 3, 4, 4, 4, 5], [1, 2, 3, 4, 5, 6, 7, 8])
    i, j = together((a, np.ones(6, bool)), (held, np.arange(9) > 3), True)
    assert i.tolist() == j.tolist() == [4, 5]


def test_closed_forms_give_the_targets_mean_and_its_variances_or_its_covariance() -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(2000, 24)) @ rng.normal(size=(24, 24)) + rng.normal(size=24) for _ in range(2))
    moved = {name: source @ matrix.T + shift for name, (matrix, shift) in closed_forms(source, target).items()}
    assert all(x.mean(0) == pytest.approx(target.mean(0)) for x in moved.values())
    assert moved["of_mean_variance"].std(0) == pytest.approx(target.std(0))
    assert np.cov(moved["of_baseline"].T) == pytest.approx(np.cov(target.T), abs=1e-6)


@pytest.mark.slow
def test_on_real_speech_the_baselines_are_those_of_the_literature() -> None:
    """A female and a male speaker of the Voice Conversion Challenge 2016, 54 sentences by both: 9.20 dB between them as
    they are, 8.69 by mean and variance, 8.10 by warp and transport, by an implementation apart from this one (SPTK's
    mel-cepstra, scikit-learn's mixtures)."""
    pytest.importorskip("pyworld", reason="the figures are of WORLD's envelopes")
    if not DATA.is_dir():
        pytest.skip("recordings of real speakers are not here")
    hear = Hearing()

    def heard(folder: str) -> Iterator[Heard]:
        for path in sorted((DATA / folder).glob("*.wav")):
            yield hear(read_sound(path))

    maps = closed_forms(*(np.concatenate([x.spoken for x in heard(f"train/{name}")]) for name in ("SF1", "TM3")))
    maps["of_source"] = np.eye(24), np.zeros(24)
    found: dict[str, list[float]] = {name: [] for name in maps}
    for source, real in zip(heard("eval/SF1"), heard("eval/TM3"), strict=True):
        for name, (matrix, shift) in maps.items():
            made = source.cepstra @ matrix.T + shift
            i, j = together((made, source.active), (real.cepstra, real.active), False)
            found[name].append(float(measure.distortion(made[i], real.cepstra[j]).mean()))
    means = {name: float(np.mean(each)) for name, each in found.items()}
    assert means == pytest.approx({"of_source": 9.20, "of_mean_variance": 8.69, "of_baseline": 8.10}, abs=0.1)
