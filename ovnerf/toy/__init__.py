"""The demo's procedural rooms and three small models in place of CLIP, SAM and DINO.

Rooms: `rooms.build_room(seed)`, `rendering.camera_path(room, n)`, `rendering.render(...)`,
`replica.write_room(folder, settings)`. Demo seeds are below 1000, training seeds from 1000 on.

Weights (fp16 safetensors; a card each beside them, `<name>.md`), loaded through the real libraries:

* CLIP: `open_clip.add_model_config(MODELS)`, then
  `open_clip.create_model_and_transforms("toy-clip", pretrained=str(WEIGHTS / "clip.safetensors"))`.
  Images of 32 pixels, embeddings of 64 numbers, open_clip's own tokenizer.
* SAM: `ovnerf.regions.sam.build_sam("toy")`, segment_anything's `Sam` at toy size. Its scores are
  low, and segment_anything's usual thresholds leave few masks: `config/config.yaml` has its own.
* DINO: `ovnerf.encoders.dino.build_dino("toy")`, a timm VisionTransformer (patch 8, width 96, one
  prefix token, `dynamic_img_size=True`).

How they were trained and measured: `tools/toy_models` in the repository.

`ovnerf.toy.WEIGHTS` and `ovnerf.toy.MODELS` are the folders, wherever the package is installed.
"""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
"""open_clip model configs."""
WEIGHTS = Path(__file__).parent / "weights"
"""Trained toy weights and their cards."""
