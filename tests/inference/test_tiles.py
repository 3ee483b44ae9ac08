"""Translation in tiles: each operation against the same on the whole tensor, in float64; and what is left of tiles."""

import errno
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transgan.errors import DiskError
from transgan.inference.tiling import tensors as tiles
from transgan.inference.tiling.memory import free_memory, measure
from transgan.inference.tiling.tensors import Filed, Held, NotTileable, TiledTensor, Tiling, seam, whole

CPU = torch.device("cpu")
KERNEL, BIAS = torch.randn(6, 4, 3, 3, generator=torch.manual_seed(1)).double(), torch.randn(6).double()
LINE = KERNEL[..., 0]


def tiling(bytes_at_once: int = 4096, held: int = 20_000) -> Tiling:
    """Return tiles of a few rows, of which only small tensors are held in memory."""
    made = Tiling(CPU, 0)
    made.tile_bytes, made.free = bytes_at_once, {CPU: held}
    return made


def plane() -> Tensor:
    return torch.randn(2, 4, 23, 13, generator=torch.manual_seed(0)).double() + 3


def attention(x: Tensor) -> Tensor:
    y = x.flatten(2)
    return (y @ (y.transpose(1, 2) @ y).softmax(-1)).view(x.shape)


def in_place(x: Tensor) -> Tensor:
    y = F.relu(F.conv2d(x, KERNEL, padding=1), inplace=True)
    return F.leaky_relu_(y.mul_(2).sub_(1), 0.2)


def normalised_by_hand(x: Tensor) -> Tensor:
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    variance, other = torch.var_mean(x, (1, 2, 3), keepdim=True)
    return (x - mean) / std + variance - other + x.amax((2, 3), keepdim=True) + x.sum((0, 2, 3))[:, None, None]


def channels_last(x: Tensor) -> Tensor:
    y = F.layer_norm(x.permute(0, 2, 3, 1), (4,), torch.arange(4.0).double(), torch.ones(4).double())
    return F.gelu(y).permute(0, 3, 1, 2)


def residual_blocks(x: Tensor) -> Tensor:
    for _ in range(3):
        x = x + F.instance_norm(F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), KERNEL[:4]))
    return x


KNOWN: dict[str, Callable[[Tensor], Any]] = {
    "convolution": lambda x: F.conv2d(x, KERNEL, BIAS, padding=1),
    "strided": lambda x: F.conv2d(x, KERNEL, BIAS, stride=2, padding=(1, 0)),
    "dilated": lambda x: F.conv2d(x, KERNEL, stride=3, padding=2, dilation=2),
    "grouped": lambda x: F.conv2d(x, KERNEL[:, :1][:4], groups=4, padding="same"),
    "wide padding": lambda x: F.conv2d(x, KERNEL, padding=5),
    "transposed": lambda x: F.conv_transpose2d(x, KERNEL[:4], stride=2, padding=1, output_padding=1),
    "transposed, 4": lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 4, 4).double(), stride=2, padding=1),
    "transposed, alone": lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 2, 2).double(), stride=2),
    "transposed, dilated": lambda x: F.conv_transpose2d(x, KERNEL[:4], BIAS[:4], stride=3, dilation=2),
    "reflection": lambda x: F.pad(x, (1, 2, 3, 4), mode="reflect"),
    "wide reflection": lambda x: F.pad(x, (0, 0, 22, 22), mode="reflect"),
    "replication": lambda x: F.pad(x, (1, 2, 30, 4), mode="replicate"),
    "constant": lambda x: F.pad(x, (1, 2, 30, 4), value=2.5),
    "columns": lambda x: F.pad(x, (1, 2)),
    "mean pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "blur": lambda x: F.avg_pool2d(F.avg_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 2, stride=1), 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "half": lambda x: F.interpolate(x[..., :22, :12], scale_factor=0.5, mode="bilinear"),
    "shuffle": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "instance norm": lambda x: F.instance_norm(x, weight=BIAS[:4], bias=BIAS[:4]),
    "group norm": lambda x: F.group_norm(x, 2, BIAS[:4], BIAS[:4]),
    "layer norm": lambda x: F.layer_norm(x, (4, 23, 13), plane()[0], plane()[1]),
    "batch norm": lambda x: F.batch_norm(x, BIAS[:4], BIAS[:4].abs()),
    "by hand": normalised_by_hand,
    "means": lambda x: [x.mean(), x.mean((2, 3)), F.adaptive_avg_pool2d(x, 1), x.mean(1), x.sum(-1, keepdim=True)],
    "channels": lambda x: F.normalize(x) + x.softmax(1) + torch.cat([F.glu(x, 1)] * 2, 1),
    "parts": lambda x: torch.cat([*x.chunk(2, 1), torch.ones(2, 1, 23, 13)], 1)[:, 1:, 3:20:2, ::2],
    "channels last": channels_last,
    "in place": in_place,
    "dtypes": lambda x: torch.where(x > 3, x, 0.1 * x).float().double().clamp(-1, 4),
    "residual": residual_blocks,
}


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(*([each] if isinstance(each, Tensor) else each for each in (found, expected)), strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(whole(one), other, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("bytes_at_once", [1, 4096, 1 << 20])
def test_an_operation_in_tiles_is_that_on_the_whole(name: str, bytes_at_once: int) -> None:
    made = tiling(bytes_at_once)
    assert_equal(KNOWN[name](made.wrap(plane())), KNOWN[name](plane()))
    assert not made.computed_whole


@torch.no_grad()
@pytest.mark.parametrize("grouped", [False, True])
def test_a_plain_plane_stays_plain_in_tiles(grouped: bool) -> None:
    """Each norm enlarges the rounding of tiles 300 times where nothing else varies: a plain plane is its bias.

    In float32, as models compute; where a pixel differs by one level of 8 bits, it is that of float64.
    """
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(8):
        norm = nn.GroupNorm(32, 32) if grouped else nn.InstanceNorm2d(32, affine=True)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(32 if i else 3, 32, 3), norm]
    network = nn.Sequential(*layers)
    plain = torch.tensor([-0.9, 0.6, -0.8]).view(1, 3, 1, 1).repeat(1, 1, 200, 200)
    spotted = plain.clone()
    spotted[0, 0, 130, 20] += 2 / 255
    found, spot = (whole(network(tiling(1_000_000).wrap(x))) for x in (plain, spotted))
    torch.testing.assert_close(found, norm.bias.view(1, 32, 1, 1).expand_as(found), atol=1e-5, rtol=0)
    torch.testing.assert_close(spot.double(), network.double()(spotted.double()), atol=0.02, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    "compute",
    [
        lambda x: F.conv1d(F.pad(x, (2, 2), mode="reflect"), LINE, stride=2),
        lambda x: F.conv_transpose1d(F.instance_norm(x), LINE[:4], stride=2, padding=1),
        lambda x: F.interpolate(F.avg_pool1d(x, 2), scale_factor=2, mode="linear"),
        lambda x: F.glu(F.group_norm(x, 1), 1),
    ],
)
def test_samples_may_have_one_axis_of_space(compute: Callable[[Tensor], Tensor]) -> None:
    made, x = tiling(500), torch.randn(3, 4, 90, generator=torch.manual_seed(0)).double()
    assert_equal(compute(made.wrap(x)), compute(x))
    assert not made.computed_whole


@torch.no_grad()
@pytest.mark.parametrize(
    ("compute", "name"),
    [
        (attention, "view"),
        (lambda x: x.cumsum(2), "cumsum"),
        (lambda x: x.flip(2), "flip"),
        (lambda x: F.interpolate(x, (31, 17), mode="bilinear"), "upsample_bilinear2d"),
        (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "avg_pool2d"),
    ],
)
def test_an_unknown_operation_is_computed_on_the_whole_and_reported(
    compute: Callable[[Tensor], Tensor], name: str
) -> None:
    made = tiling()
    assert_equal(compute(made.wrap(plane())), compute(plane()))
    assert name in made.computed_whole


@torch.no_grad()
def test_what_alone_has_its_numbers_may_change_in_place() -> None:
    made, layers = tiling(), nn.Sequential(nn.InstanceNorm2d(4), nn.ReLU(inplace=True))  # whose result is a view
    assert_equal(layers(made.wrap(plane())), layers(plane()))


@torch.no_grad()
def test_what_would_change_another_tensor_in_place_is_refused() -> None:
    with pytest.raises(NotTileable, match="changes a part of a tensor in place"):
        tiling().wrap(plane())[:, :2].mul_(2)


@torch.no_grad()
def test_what_was_computed_before_a_change_in_place_does_not_change() -> None:
    x = tiling().wrap(plane())
    before = x + 1
    x.mul_(2)
    assert_equal([before, x], [plane() + 1, plane() * 2])


@torch.no_grad()
def test_large_tensors_are_stored_in_files_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path))
    made = tiling(held=30_000)
    first, second = (F.conv2d(made.wrap(plane()), KERNEL, padding=1) for _ in range(2))  # 28,704 bytes each
    assert isinstance(first, TiledTensor) and isinstance(second, TiledTensor)
    assert isinstance(first.node, Held) and isinstance(second.node, Filed)
    torch.testing.assert_close(whole(first), whole(second), rtol=0, atol=0)
    freed = weakref.ref(second.node)
    del first, second
    assert made.free == {CPU: 30_000} and freed() is None and not list(tmp_path.iterdir())


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def close(self) -> None: ...

        def seek(self, place: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tiles, "TemporaryFile", lambda dir: Full())
    with torch.no_grad(), pytest.raises(DiskError, match=r"cannot write .*: No space left on device; free some space"):
        F.conv2d(tiling(held=0).wrap(plane()), KERNEL)


def naive(x: Tensor, network: nn.Module, borders: list[int]) -> Tensor:
    """Translate each tile by itself."""
    return torch.cat([network(part) for part in x.tensor_split(borders, 2)], 2)


@torch.no_grad()
def test_a_seam_is_found_where_tiles_are_translated_by_themselves_and_not_otherwise() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 96), torch.linspace(0, 2, 64), indexing="ij")
    x = torch.stack([torch.sin(rows + columns), rows / 3, torch.cos(columns)])[None]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(8),
                            nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect"))  # fmt: skip
    borders = [32, 64]
    y = network(x)
    in_tiles = whole(network(tiling(1 << 14).wrap(x)))
    assert seam(y, borders) <= 1.05
    assert seam(in_tiles, borders) <= 1.05
    torch.testing.assert_close(in_tiles, y, rtol=0, atol=1e-5)
    assert seam(naive(x, network, borders), borders) > 2


def test_a_seam_is_a_ratio_of_steps() -> None:
    y = torch.tensor([0.0, 1, 2, 5, 6])[None, None, :, None].expand(1, 2, 5, 3)  # steps 1, 1, 3, 1
    assert seam(y, [3]) == 3 and seam(y, [1, 2]) == pytest.approx(1 / 3)


@torch.no_grad()
def test_needs_are_counted() -> None:
    weight = torch.empty(8, 4, 3, 3, device="meta")

    def compute() -> Tensor:
        x = torch.empty(1, 4, 10, 10, device="meta")  # 1,600 bytes
        y = F.conv2d(x, weight, padding=1)  # 3,200 bytes, and copies of both
        del x
        return y.relu().tanh() + y

    needs = measure(compute)
    assert needs.multiplications == 8 * 4 * 9 * 100
    assert needs.memory == max(2 * (1600 + 3200), 3 * 3200)


def test_free_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"limit": "900000", "used": "500000", "stat": "anon 1\ninactive_file 100000\n"}.items():
        (tmp_path / name).write_text(text)
    names = tuple(str(tmp_path / name) for name in ("limit", "used", "stat"))
    monkeypatch.setattr("transgan.inference.tiling.memory._LIMITS", (("nowhere",) * 3, names))
    assert free_memory(CPU) == 500_000
    (tmp_path / "limit").write_text("max")
    assert free_memory(CPU) > 900_000 and math.isfinite(free_memory(CPU))
