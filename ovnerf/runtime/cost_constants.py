"""The constants of the cost model (`runtime.costs`): measured, published or assumed, and which.

Seconds of rules that compute on no card stand in the table `costs.COSTS`.
"""

from __future__ import annotations

MB = 2**20
PROGRAM = 1100 * MB
"""Python, libraries and compiled loops of a stage with little to do (measured: 680-1050 MB)."""

# What the workflow reserves for a job.
MEMORY_MARGIN = 1.25
"""Memory reserved for a job over its estimate, because a plan knows its sizes less well."""
TIME_MARGIN = 6.0
"""Time limit over modelled seconds: a slower card than an A100, a disk that many jobs share."""
TIME_MARGIN_ON_CPU = 2.0
"""The same for a job that is known to compute on CPU, over what one core is thought to take."""
SPARE_MINUTES = 30
"""Minutes of every time limit for what is not modelled: a busy node, a cold disk."""
DOWNLOAD_MINUTES = 240
"""The same where weight files come over a network."""
ROUNDING_MB = 100
"""Reserved memory is a multiple of it."""

# Bytes.
ENCODING = {"toy": 150 * MB, "vit_b": 3500 * MB, "vit_l": 4500 * MB, "vit_h": 6000 * MB}
"""SAM's image encoder at work, 1024 x 1024 pixels. Estimates."""
GRAPH_BYTES = 400
"""Per pixel of the graph of superpixels: four edges, each with its cost, ends and rank, twice."""
GRID_COPIES = 5
"""Values, gradients, Adam's two moments, one temporary."""
UNEVEN = 1.5
"""Planes of a long or flat box, compared with those of a cube of as many voxels."""
SAMPLE_BYTES = 300
"""A sample while it is marched: place, distance, corner weights, density and its gradient."""
OCCUPIED = 0.25
"""Share of a ray's samples in occupied cells, once the density is trained (rooms: about 0.1)."""
WINDOW_SHARE = 1 / 64
"""Activations of one window in an image encoder, as a share of its weights (ViT-B/16: 9 MB)."""
SIFT_BYTES = 240
"""Per pixel of a photo: 11 float images of its doubled size, and a third for smaller octaves."""
VOXELS_PER_PIXEL = 10
"""Voxels with a point, over the pixels of one view, where a voxel is as wide as a pixel (measured:
7.7 in the demo, 10.0 with `config/laptop.yaml`)."""
VOXEL_BYTES = 1250
"""A voxel's sums while views are merged: 42 numbers in three copies, and what is gathered."""
POINT_BYTES = 115
"""A point in its store: place, normal, colour, label and 28 halves."""
PROFILE_PIXELS = 16 * 8192
"""Pixels that `fuse_labels` takes the classes' profiles from; 17 bytes a class for each of them
(measured: 43 MB at 20 classes, 100 MB at 60)."""
ROW_BYTES = 1000
"""A row of scores in memory: twelve cells, most of them text."""
PATCH = 8
"""Side of a DINO token in pixels."""

# Seconds.
START = 4.0
"""Seconds of a job before its stage works: two Snakemakes, Python, imports (docs/cluster.md)."""
FLOPS = 5e12
"""Sustained by the encoders: a quarter of an A100's 19.5 TFLOP/s in fp32. An assumption."""
SAM_FLOP = {
    "toy": 2 * 86e6 * 4096,
    "vit_b": 2 * 86e6 * 4096 + 4 * 4 * 4096**2 * 768,
    "vit_l": 2 * 304e6 * 4096 + 4 * 4 * 4096**2 * 1024,
    "vit_h": 2 * 632e6 * 4096 + 4 * 4 * 4096**2 * 1280,
}
"""SAM's encoder on its 64 x 64 tokens: 2 x parameters x tokens, and attention in its four global
layers. The toy one's is scaled by the size of its weight file."""
PROMPT_FLOP = 3.5e9
"""SAM's decoder per prompt: two-way attention over 4096 tokens and the upscaling to 256 x 256."""
SIFT, MATCH, POSE = 1.8e-6, 2.5e-9, 1.2
"""Seconds of COLMAP on one EPYC core: SIFT of a pixel, a pair of features in a match of two photos,
the pose of a photo (python -m benchmarks.capture)."""
SUPERPIXELS = 2e-6
"""Seconds per pixel and scale of superpixels, one EPYC core."""
CLIP_FLOP = 35e9
"""ViT-B/16 on one window of 224 x 224 (17.5 G multiply-adds)."""
CLIP_BYTES, DINO_BYTES, SAM_B_BYTES = 600e6, 343e6, 375e6
"""Weight files of the networks that these numbers are for (ViT-B); others count by their size."""
PROXY_FLOP = 44e9
"""DINO ViT-S/8 on the same window: 784 tokens, 2 x 21 M parameters and attention in 12 layers."""
CLIP_SIDE = 224
"""Image size of CLIP's ViT-B/16 in pixels."""
DENSE_CHANNELS = 64
"""Channels of dense features at pixel size at once (module `dense` of `ovnerf/encoders`)."""
LSEG_FLOP = 1.5e12
"""LSeg on one image: ViT-L/16 on 1200 tokens (0.75) and as much for its head (rough)."""
RECONSTRUCT = 17.4 * 60 / 30_000 / 4096
"""Seconds per ray: TensoRF paper, VM-192, 30 000 iterations of 4096 rays in 17.4 min (V100)."""
TRAIN = 3600 / 15_000
"""Seconds per iteration: OV-NeRF paper, about one hour for 15 000 (A100). Ours does less work."""
TRAIN_RAYS = 4096
"""Rays of an iteration that takes so long."""
RENDER = 3.8 / (640 * 480)
"""Seconds per pixel: OV-NeRF paper, 3.8 s a view of 640 x 480 (A100). Ours does less work."""
COMPARED = 64
"""Views whose labels are compared with each other, at most."""
FUSE = 1e-7
"""Seconds per pixel of a view and other view that it is compared with."""
CPU_ENCODERS = 50.0
"""Encoders on one CPU core of about 100 GFLOP/s (docs/performance.md) against `FLOPS`."""
CPU_RECONSTRUCT = 24.0
"""One core against `RECONSTRUCT`, measured with `config/laptop.yaml`: 0.2 s an iteration of 1024
rays at 4 million voxels."""
HEAD_WIDTH, HEAD_SHARE = 128, 0.65
"""Width of the colour head there, and its share of these seconds: with a width of 64 an iteration
takes 0.1 s (docs/performance.md#tensorf)."""
CPU_TRAIN = 2.0
"""One core against `TRAIN` and `RENDER`: 0.31 s an iteration, 6 s a view at the paper's sizes."""
LABEL_VIEW = 0.26 / (640 * 480)
"""Seconds per pixel of a label map that self-enhancement renders and ranks, on an H200."""
CPU_LABEL_VIEW = 25.0
"""One core against it, measured with `config/laptop.yaml`: 6.5 s."""
CPU_VIEW = 5.0
"""One core against `RENDER` for all that is rendered of a held-out view, colours twice, measured
with `config/laptop.yaml`: 20 s."""
OF_CAPTURES = "captures of three rooms, one EPYC core"
OF_THE_DEMO = "the demo, one EPYC core"
OF_THE_PAPER = "OV-NeRF paper, A100"
OF_TENSORF = "TensoRF paper, V100"
OF_ARITHMETIC = f"arithmetic: FLOP at {FLOPS / 1e12:.0f} TFLOP/s"
