"""Class lists and prompts."""

from ovnerf.labels.vocabulary import class_list, prompts, templates


def test_benchmark_lists():
    replica, scannet = class_list("replica_51"), class_list("scannet_20")
    assert len(replica) == len(set(replica)) == 51
    assert replica == sorted(replica)
    assert {"blinds", "rug", "tv-screen", "wall-plug"} <= set(replica)
    assert len(scannet) == len(set(scannet)) == 20
    assert scannet[:2] == ["wall", "floor"]


def test_85_templates():
    assert len(templates()) == len(set(templates())) == 85
    sentences = prompts("sofa", "ensemble")
    assert all("sofa" in sentence for sentence in sentences)
    assert sentences[-1] == "this is one sofa in the scene."
    assert prompts("sofa", "bare") == ["sofa"]
