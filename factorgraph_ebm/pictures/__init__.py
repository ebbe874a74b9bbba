"""Models of pictures: arrays in, a factor graph out; and the picture files that go with them.

    denoising    what a noisy picture showed, over two or many grey levels
    stereo       how far each pixel moved between two views
    segments     which colour each pixel belongs to
    contrast     how alike neighbouring pixels are, which weights what they pay
    grid         which pixels are neighbours
    files        pictures read and written, by Pillow (extra `plot`)
"""

from factorgraph_ebm.pictures.contrast import alike, smooth
from factorgraph_ebm.pictures.denoising import binary_graph, grey_graph, grey_levels, noise_of
from factorgraph_ebm.pictures.files import read_picture, write_labels, write_picture
from factorgraph_ebm.pictures.grid import neighbours
from factorgraph_ebm.pictures.segments import cluster_colours, colour_energies, segments_graph
from factorgraph_ebm.pictures.stereo import COSTS, matching_costs, stereo_graph

__all__ = [
    "COSTS",
    "alike",
    "binary_graph",
    "cluster_colours",
    "colour_energies",
    "grey_graph",
    "grey_levels",
    "matching_costs",
    "neighbours",
    "noise_of",
    "read_picture",
    "segments_graph",
    "smooth",
    "stereo_graph",
    "write_labels",
    "write_picture",
]
