"""Opening a domain's source at another root: selections, the split, and what is held out of the run itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transgan.api import Domain
from transgan.data.domains import Domains
from transgan.data.real_samples import real_domains
from transgan.data.unreadable import exclude_unreadable
from transgan.errors import DataError, UsageError
from transgan.plan import Plan

RECIPE = """
[data]
source = "labelled_faces"
root = "{root}"
size = 8
held_out = 0.3
[domains]
young = {{ age = [20, 30] }}
old = {{ age = [50, 60] }}
[tasks]
age = {{ between = ["young", "old"] }}
[train]
steps = 1
[generators]
g = {{ use = "resnet", width = 4, blocks = 0 }}
[losses]
cycle = 1.0
"""


def write(folder: Path, age: int, number: int, seed: int) -> None:
    folder.mkdir(exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(array).save(folder / f"{age}_0_0_{number}.png")


@pytest.fixture
def domains(planned: Callable[..., Plan], tmp_path: Path) -> Domains:
    for i in range(20):
        write(tmp_path / "own", 25, i, i)
        write(tmp_path / "own", 55, i, 100 + i)
    for i in range(20):
        for age in (5, 25, 55):
            write(tmp_path / "other", age, 1000 + i, 1000 * age + i)
    found = Domains(planned(RECIPE.format(root=tmp_path / "own")))
    exclude_unreadable(found)
    return found


def rows(domain: Domain, held_out: bool) -> dict[str, torch.Tensor]:
    return {key: row for keys, x in domain.batches(held_out, 7) for key, row in zip(keys, x, strict=True)}


def test_samples_are_those_of_the_other_root_by_the_same_or_another_selection(domains: Domains, tmp_path: Path) -> None:
    young = real_domains(domains, 8, "cpu")["young"].elsewhere(tmp_path / "other")
    assert {s.attributes["age"] for s in (*young.samples, *young.held_out)} == {25}
    every = real_domains(domains, 8, "cpu")["young"].elsewhere(tmp_path / "other", {"age": [0, 150]})
    assert {s.attributes["age"] for s in every.samples} == {5, 25, 55}
    assert len(every.samples) + len(every.held_out) == 60 and every.held_out
    for held_out, samples in ((False, every.samples), (True, every.held_out)):
        read = rows(every, held_out)
        assert list(read) == [sample.key for sample in samples]
        for sample in samples:
            expected = np.asarray(Image.open(sample.location)).transpose(2, 0, 1) / 127.5 - 1
            np.testing.assert_allclose(read[sample.key], expected, atol=1e-5)
    again = every.elsewhere(tmp_path / "own")
    assert len(again.samples) + len(again.held_out) == 20


def test_what_the_run_holds_out_is_held_out_elsewhere_too(domains: Domains, tmp_path: Path) -> None:
    for i, sample in enumerate(domains["young"].held_out):  # copies under other names, labels and hashes
        (tmp_path / "other" / f"40_1_1_{7000 + i}.png").write_bytes(Path(sample.location).read_bytes())
    other = real_domains(domains, 8, "cpu")["old"].elsewhere(tmp_path / "other", {"age": [0, 150]})
    assert not [sample for sample in other.samples if sample.attributes["age"] == 40]
    assert len([sample for sample in other.held_out if sample.attributes["age"] == 40]) == len(
        domains["young"].held_out
    )
    same = real_domains(domains, 8, "cpu")["young"].elsewhere(tmp_path / "own")
    assert [s.key for s in same.held_out] == [s.key for s in domains["young"].held_out]


def test_mistakes_are_said_with_the_place(domains: Domains, tmp_path: Path) -> None:
    elsewhere = real_domains(domains, 8, "cpu")["young"].elsewhere
    with pytest.raises(DataError, match="nowhere' does not exist; expected a folder with samples"):
        elsewhere(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"there is no label 'agee'\. Did you mean 'age'\?"):
        elsewhere(tmp_path / "other", {"agee": 3})
    for path in (tmp_path / "other").glob("25_*"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="can be read"):
        elsewhere(tmp_path / "other")
    with pytest.raises(DataError, match=r"20 of 60 samples cannot be read, at most 0 may"):
        elsewhere(tmp_path / "other", {"age": [0, 150]})


def test_batches_of_some_samples_decode_no_others(
    domains: Domains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = real_domains(domains, 8, "cpu")["young"]
    for domain in (real, real.elsewhere(tmp_path / "other")):
        every, decoded = rows(domain, False), []
        decode = domain.media.decode
        monkeypatch.setattr(
            type(domain.media), "decode", lambda media, item, d=decode, seen=decoded: seen.append(item) or d(item)
        )
        numbers = [5, 1, 3]
        found = [(keys, x) for keys, x in domain.batches(False, 2, numbers)]
        monkeypatch.undo()
        assert [key for keys, _ in found for key in keys] == [domain.samples[i].key for i in numbers]
        for keys, x in found:
            assert torch.equal(x, torch.stack([every[key] for key in keys]))
        assert len(decoded) <= len(numbers)


def test_samples_that_are_only_found_are_the_same_and_are_not_read(domains: Domains, tmp_path: Path) -> None:
    every = real_domains(domains, 8, "cpu")["young"].elsewhere(tmp_path / "other", {"age": [0, 150]})
    (tmp_path / "other" / "55_0_0_9999.png").write_bytes(b"damaged")
    found = real_domains(domains, 8, "cpu", read=False)["young"].elsewhere(tmp_path / "other", {"age": [0, 150]})
    read = {sample.key for sample in (*every.samples, *every.held_out)}
    assert {sample.key for sample in found.samples} == read | {"55_0_0_9999"} and not found.held_out
    with pytest.raises(RuntimeError, match="not read before metrics are prepared"):
        found.batches(False, 4)
    with pytest.raises(DataError, match="no photograph below"):
        found.elsewhere(tmp_path / "other", {"age": [90, 99]})
