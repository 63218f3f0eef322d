"""The picture of the pipeline, from a graph small enough to draw by hand."""

import sys

from ovnerf.storage.provenance import REPOSITORY_ROOT

sys.path.append(str(REPOSITORY_ROOT / "workflow" / "scripts"))

from draw_pipeline import arrows, places, read_rules


def node(number: int, name: str, *outputs: str) -> str:
    """A rule as `snakemake --filegraph` writes it."""
    files = "".join(f'<td><font face="monospace">{path}</font></td></tr>\n' for path in outputs)
    written = f'<b><font point-size="14">output &rarr;</font></b>\n{files}' if outputs else ""
    title = f'<b><font point-size="18">{name}</font></b>'
    return f"{number} [ shape=none, label=<<table>\n{title}\n{written}</table>>]\n"


GRAPH = (
    node(0, "all")
    + node(1, "score", "results/{dataset,a|b}/{scene}/{encoder,toy}/seed{seed,\\d+}/metrics.csv")
    + node(2, "train", "results/{dataset}/{scene,x}/{encoder,toy}/field")
    + node(3, "read", "results/{dataset}/{scene,x}/frames.zarr")
    + node(4, "tables", "results/tables/a.csv", "results/tables/b.csv", "results/tables/c.png")
    + "1 -> 0\n4 -> 0\n2 -> 1\n3 -> 1\n3 -> 2\n1 -> 4\n3 -> 4\n"
)


def test_rules_files_and_how_often_they_run() -> None:
    rules = read_rules(GRAPH)
    assert {name: (rule.made, rule.level[0]) for name, rule in rules.items()} == {
        "score": ("metrics.csv", "once per variant and seed"),
        "train": ("field", "once per encoder"),
        "read": ("frames.zarr", "once per scene"),
        "tables": ("tables/", "once"),
    }
    assert rules["score"].reads == {"train", "read"}


def test_arrows_that_others_imply_are_left_out() -> None:
    assert sorted(arrows(read_rules(GRAPH))) == [
        ("read", "train"),
        ("score", "tables"),
        ("train", "score"),
    ]


def test_a_rule_stands_to_the_right_of_what_it_reads() -> None:
    columns = {name: x for name, (x, _) in places(read_rules(GRAPH)).items()}
    assert columns == {"read": 0, "train": 1, "score": 2, "tables": 3}
