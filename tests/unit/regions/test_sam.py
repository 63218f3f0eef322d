"""Region proposals through segment_anything's generator, on the toy architecture."""

import numpy as np
import pytest
import torch

from ovnerf.config.regions import ProposeRegions
from ovnerf.regions.sam import RegionProposer, build_sam
from ovnerf.runtime.errors import UserError

LENIENT = ProposeRegions(
    architecture="toy",
    weights="unused",
    points_per_side=3,
    points_per_batch=4,
    pred_iou_thresh=-100,
    stability_score_thresh=0,
    box_nms_thresh=1.0,
)
"""Random weights pass no real threshold."""


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_sam("toy")


def test_proposals_keep_the_generators_order(sam):
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    proposer = RegionProposer(sam, LENIENT, torch.device("cpu"))
    found = proposer.propose(image)
    records = proposer.generator.generate(image)
    assert len(records) >= 2
    assert np.array_equal(found.masks, [record["segmentation"] for record in records])
    assert found.score.tolist() == [pytest.approx(record["predicted_iou"]) for record in records]
    assert np.array_equal(found.area, found.masks.sum((1, 2)))
    assert (np.diff(found.score) <= 0).all()


def test_an_image_without_regions(sam):
    strict = LENIENT.model_copy(update={"pred_iou_thresh": 100.0})
    found = RegionProposer(sam, strict, torch.device("cpu")).propose(np.zeros((48, 64, 3), "u1"))
    assert found.masks.shape == (0, 48, 64)
    assert found.score.shape == found.area.shape == (0,)


def test_settings_reach_the_generator(sam):
    settings = LENIENT.model_copy(update={"points_per_side": 5, "stability_score_offset": 0.5})
    generator = RegionProposer(sam, settings, torch.device("cpu")).generator
    assert len(generator.point_grids[0]) == 25
    assert generator.stability_score_offset == 0.5
    assert generator.pred_iou_thresh == -100


def test_foreign_weights_are_refused(tmp_path):
    path = tmp_path / "sam.pth"
    torch.save({"pixel": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="weights of another architecture"):
        RegionProposer.load(LENIENT, path)


def test_an_image_is_encoded_once_and_prompts_are_decoded_in_batches(sam):
    """Nine prompts, four at once: one pass of the encoder, three of the decoder."""
    calls = {"encoder": [], "decoder": []}
    hooks = [
        sam.image_encoder.register_forward_hook(
            lambda module, given, made: calls["encoder"].append(len(given[0]))
        ),
        sam.mask_decoder.register_forward_hook(
            lambda module, given, options, made: calls["decoder"].append(
                len(options["sparse_prompt_embeddings"])
            ),
            with_kwargs=True,
        ),
    ]
    RegionProposer(sam, LENIENT, torch.device("cpu")).propose(np.zeros((48, 64, 3), "u1"))
    for hook in hooks:
        hook.remove()
    assert calls == {"encoder": [1], "decoder": [4, 4, 1]}
