"""Samples larger than memory: tensors whose numbers are computed tile by tile, and are never all in memory at once.

A tile is a range along the first axis of space, with the whole of all other axes. `Tiling.wrap` turns a sample into a
`TiledTensor`, which any network takes as it takes other tensors. What an operation does with it says
`transgan.inference.tiling.operations` and its neighbours:

- what works number by number, pads, pools or resizes is only noted, and computed for a tile when a tile is needed;
- a convolution is computed at once, tile by tile, each from a tile of its input with as much overlap as its kernel
  needs, and stored: in memory as far as the limit allows, and then in a temporary file;
- a norm over space takes its statistics from all tiles before any is normalised.

So nothing is computed twice because of tiles, and the result is that of the whole sample but for rounding, whatever the
receptive field of the network. An operation that is not known is computed on the whole sample, as without tiles.
"""

from transgan.inference.tiling import operations, statistics, windows  # they register what operations do
from transgan.inference.tiling.choice import Tiles, Wrap
from transgan.inference.tiling.tensors import NotTileable, TiledTensor, Tiling, seam, whole

__all__ = [
    "NotTileable",
    "TiledTensor",
    "Tiles",
    "Tiling",
    "Wrap",
    "operations",
    "seam",
    "statistics",
    "whole",
    "windows",
]
