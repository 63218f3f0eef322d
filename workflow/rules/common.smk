# Plans the run from the config (ovnerf/inspection/plan.py); everything here is pydantic, PyYAML and the standard
# library, because Snakemake may be installed alone.
import re
import shutil
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

REPOSITORY = Path(str(workflow.current_basedir)).parents[1]
# In a clone the package lies beside the workflow; else both come from an installed package.
if (REPOSITORY / "ovnerf").is_dir():
    sys.path.insert(0, str(REPOSITORY))

from ovnerf.inspection.jobs import OF_SEED, PlannedJobs, field_seed, field_suffixes, shared_id
from ovnerf.inspection.plan import files_of_maps, folder_of_maps, make_plan, section_files, shipped
from ovnerf.runtime.costs import reserved_mb, time_limit_minutes
from ovnerf.runtime.errors import UserError
from ovnerf.storage.provenance import IS_CLONE, PACKAGE_ROOT, code_digest, file_digest

# Without --configfile it is config/config.yaml of the working directory, else the demo. It is not
# read otherwise, because Snakemake merges maps deeply and a user's config would inherit every
# setting of it that it leaves out.
if not workflow.overwrite_configfiles:

    configfile: shipped("config/config.yaml")


try:
    PLAN = make_plan(config)
except UserError as error:
    raise WorkflowError(str(error)) from None
for warning in PLAN.warnings:
    logger.warning(warning)

JOBS = PlannedJobs(PLAN)
CONFIG, SCENES, FILES = PLAN.config, PLAN.scenes, PLAN.files
ENCODERS, VARIANTS, WEIGHTS = PLAN.encoders, PLAN.variants, PLAN.weights
TRUE_REGIONS = CONFIG.propose_regions.architecture == "truth"

# Variants that agree up to iteration T share one shared part; its name says what they share.
SHARED_IDS = {name: shared_id(train) for name, (train, _) in VARIANTS.items()}

RESULTS = CONFIG.results
SCENE = f"{RESULTS}/{{dataset}}/{{scene}}"
RADIANCE = f"{SCENE}/radiance{{of_seed}}"
ENCODER = f"{SCENE}/{{encoder}}"
SHARED = f"{ENCODER}/shared-{{shared}}/seed{{seed}}"
RUN = f"{ENCODER}/{{variant}}/seed{{seed}}"
LIFTED = "lift"  # stands for a variant where nothing was trained
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
OF_SCENE = "{dataset}.{scene}"
OF_FIELD = f"{OF_SCENE}{{of_seed}}"
OF_ENCODER = f"{OF_SCENE}.{{encoder}}"
OF_SHARED = f"{OF_ENCODER}.{{shared}}.seed{{seed}}"
OF_RUN = f"{OF_ENCODER}.{{variant}}.seed{{seed}}"

THREADS = CONFIG.compute_threads
DEVICE = CONFIG.device
# A resource and not a parameter of its rules: another cadence gives the same results.
CHECKPOINT_MINUTES = str(CONFIG.checkpoint_minutes)
FIELD_SUFFIXES = field_suffixes(CONFIG)
FEATURE_PARTS = CONFIG.cache_features.parts
HAS_CUDA = shutil.which("nvidia-smi") is not None
GPU = int(DEVICE == "cuda" or (DEVICE == "auto" and HAS_CUDA))
if GPU and "gpu" not in workflow.global_resources and workflow.is_main_process:
    if not workflow.non_local_exec_or_dryrun:
        logger.warning("`gpu` is not counted: two jobs may share a card. Add gpu=1 to --resources.")
COMPUTE = f"--device {DEVICE} --threads {THREADS}"
# Of rules that render a few views: not worth waiting for a card, and their jobs ask for none.
ON_CPU = f"--device cpu --threads {THREADS}"


def memory(rule):
    """`resources` function: MB of a job of `rule`, as often again with each further attempt."""
    return lambda wildcards, attempt: attempt * reserved_mb(JOBS.job(rule, wildcards))


def minutes(rule):
    """`resources` function: time limit, as often again with each further attempt (`retries`)."""
    return lambda wildcards, attempt: attempt * time_limit_minutes(
        JOBS.job(rule, wildcards), DEVICE
    )


def setting(stage):
    """`params` function: the settings of `stage`, as the JSON text its command takes."""
    return lambda wildcards: JOBS.settings(stage, wildcards).model_dump_json()


def files_of(wildcards):
    """The files of a scene; wildcards also match a scene's name under another one's dataset."""
    key = wildcards.dataset, wildcards.scene
    if key not in FILES:
        raise WorkflowError(f"{CONFIG.scenes}: found no scene {'/'.join(key)}")
    return FILES[key]


def scene_input(kind):
    """`input` function: the scene's `images`, `labels` or `sources` files."""
    return lambda wildcards: getattr(files_of(wildcards), kind)


def capture_source(wildcards):
    """`params` function: the video or folder of photos that a scene is made from."""
    source = SCENES[wildcards.dataset, wildcards.scene].capture
    return f"./{source}" if source.startswith("-") else source  # no option


def scene_folder(wildcards):
    """`params` function: the folder that holds the scene's files."""
    return files_of(wildcards).folder


def has_truth(wildcards):
    """Whether the scene comes with label files."""
    return files_of(wildcards).labelled


def truth_where_known(wildcards):
    """`input` function: the truth store, nothing for a scene without labels."""
    return [f"{SCENE}/truth.zarr"] if has_truth(wildcards) else []


def truth_of_simulated(wildcards):
    """`input` function: the truth store for the `simulated` encoder only."""
    simulated = ENCODERS[wildcards.encoder].encoder.kind == "simulated"
    return [f"{SCENE}/truth.zarr"] if simulated else []


def truth_of_true_regions(wildcards):
    """`input` function: the truth store where regions are cut from it."""
    return [f"{SCENE}/truth.zarr"] if TRUE_REGIONS else []


def region_files():
    """SAM's weight file, where regions are SAM's."""
    return section_files(CONFIG.propose_regions) if CONFIG.propose_regions.reads_weights else []


def option(name):
    """`params` function: `--name PATH ...` when inputs of that name are there, else nothing."""

    def words(wildcards, input):
        given = input[name]
        paths = [given] if isinstance(given, str) else list(given)
        return " ".join([f"--{name}", *map(quote, paths)]) if paths else ""

    return words


def feature_parts(wildcards):
    """`input` function: the stores that a scene's CLIP pyramid is put together from, if any."""
    if FEATURE_PARTS == 1:
        return []
    return [f"{ENCODER}/feature-parts/{part}.zarr" for part in range(FEATURE_PARTS)]


def encoder_files(wildcards):
    """`input` function: the encoder's weight file and model config, or its precomputed maps."""
    encoder = ENCODERS[wildcards.encoder].encoder
    if encoder.kind != "precomputed":
        return section_files(encoder)
    return files_of_maps(folder_of_maps(encoder, (wildcards.dataset, wildcards.scene)))


def weights_dir_option(wildcards):
    """`params` function: `--weights-dir=PATH` where the config names one, else nothing."""
    return f"--weights-dir={quote(CONFIG.weights_dir)}" if CONFIG.weights_dir else ""


def run_folder(wildcards, input):
    """`params` function: the folder of the run whose semantic branch is read."""
    return str(Path(input.semantics).parent)


def answers_where_asked(wildcards):
    """`input` function: the answers of a variant that is asked phrases, else nothing."""
    return [f"{RUN}/answers"] if wildcards.variant in CONFIG.query.variants else []


def variants_here(wildcards):
    """Variants that are trained on these features, in the order of the config."""
    return PLAN.variants_of(wildcards.dataset, wildcards.scene, wildcards.encoder)


def of_variants(name, seeds):
    """`input` function: a file of every variant's run, in the order of the config."""
    return lambda wildcards: expand(
        f"{RUN}/{name}", variant=variants_here(wildcards), seed=seeds, **wildcards
    )


def runs_here(wildcards):
    """(encoder, variant) of the runs of a scene, in the order of the config."""
    here = (wildcards.dataset, wildcards.scene)
    return [run[2:] for run in PLAN.runs if run[:2] == here]


def views_here(wildcards):
    """`input` function: held-out views of every run of a scene, first seed."""
    folder = f"{RESULTS}/{wildcards.dataset}/{wildcards.scene}"
    return [
        f"{folder}/{encoder}/{variant}/seed{CONFIG.seeds[0]}/views.zarr"
        for encoder, variant in runs_here(wildcards)
    ]


def label_scores_where_known(wildcards):
    """`input` function: scores of the label maps, nothing for a scene without labels."""
    return [f"{ENCODER}/label_scores.csv"] if has_truth(wildcards) else []


def about_the_run():
    """What the scores do not say of a run and their captions must: regions and iterations."""
    semantics = sorted({train.iterations for train, _ in VARIANTS.values()})
    return (
        f"Regions: `{CONFIG.propose_regions.architecture}`. Iterations: {CONFIG.reconstruct.iterations} "
        f"of the reconstruction, then {' or '.join(map(str, semantics))} of the semantics."
    )


def shared_of_variant(wildcards):
    """`input` function: the run this variant shares up to iteration T."""
    return f"{SHARED}/shared".replace("{shared}", SHARED_IDS[wildcards.variant])


def radiance_of_run(wildcards):
    """`input` function: the radiance field that a run of this seed trains on."""
    seed = field_seed(CONFIG, wildcards.seed)
    return RADIANCE.replace("{of_seed}", "" if seed is None else f"{OF_SEED}{seed}")


def radiance_seed_option(wildcards):
    """`params` function: `--radiance-seed N` where a scene has several fields, else nothing."""
    seed = field_seed(CONFIG, wildcards.seed)
    return "" if seed is None else f"--radiance-seed {seed}"


def fused_of(training):
    """`input` function: the fused labels, where the training that `training` gives reads them."""
    return lambda wildcards: (
        [f"{ENCODER}/fused.zarr"] if training(wildcards).labels == "fused" else []
    )


def fused_where_wanted(wildcards):
    """`input` function: the fused labels, where a variant trains on them."""
    wanted = any(VARIANTS[name][0].labels == "fused" for name in variants_here(wildcards))
    return [f"{ENCODER}/fused.zarr"] if wanted else []


def one_of(names):
    """A wildcard constraint that matches these names and nothing else."""
    return "|".join(re.escape(str(name)) for name in names)


wildcard_constraints:
    dataset=one_of({dataset for dataset, _ in SCENES}),
    scene=one_of({scene for _, scene in SCENES}),
    encoder=one_of(ENCODERS),
    variant=one_of(VARIANTS),
    shared=one_of(set(SHARED_IDS.values())),
    seed=r"0|[1-9]\d*",  # one name for each seed
    of_seed=f"({one_of(FIELD_SUFFIXES)})",  # an empty pattern would be no constraint
    part=r"\d+",
    weight=one_of(WEIGHTS) or "none",


def container_image(name):
    """What `container:` takes: an address, or a file of the working directory or the repository."""
    if "://" in name or Path(name).exists():
        return name
    return str(REPOSITORY / name)


# Jobs run the package of this checkout: conda environments drop an inherited PYTHONPATH, and a
# Snakemake called by its full path has not put its own Python first on PATH. An installed package
# is found by the Python that it was installed for.
PREFIX = "set -euo pipefail; "
if IS_CLONE:
    PREFIX += f"export PYTHONPATH={quote(str(REPOSITORY))}; "
if not workflow.deployment_settings.deployment_method & {
    DeploymentMethod.CONDA,
    DeploymentMethod.APPTAINER,
}:
    PREFIX += f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH; "
elif not IS_CLONE:
    raise WorkflowError(
        "--sdm conda and --sdm apptainer need a clone of the repository: their jobs cannot see a "
        "package that pip installed for another Python"
    )

shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))

# The numbers that scores stand beside are data of the package, which `code_digest` does not cover.
# A digest and no input: results in a moved or reinstalled package stay as they are.
PUBLISHED = file_digest(PACKAGE_ROOT / "evaluation" / "paper_tables.csv")[:16]
# Without `variants`, which change nothing in a job.
REFRESH_FIGURES = CONFIG.draw_refreshes.model_copy(update={"variants": ()}).model_dump_json()
RUNS = [(*run, seed) for run in PLAN.runs for seed in CONFIG.seeds]
LIFTS = [
    (*place, LIFTED, seed) for place in PLAN.encoded for seed in CONFIG.seeds if CONFIG.lift.write
]
ASKED = [
    f"{RESULTS}/{dataset}/{scene}/{encoder}/{variant}/seed{seed}/{made}"
    for made, variants in (
        ("points.zarr", CONFIG.fuse_points.variants),
        ("answers", CONFIG.query.variants),
        ("maps", CONFIG.draw_query.variants),
        ("refreshes", CONFIG.draw_refreshes.variants),
        ("exported", CONFIG.export.variants),
        ("view.html", CONFIG.write_page.variants),
    )
    for dataset, scene, encoder, variant, seed in RUNS
    if variant in variants
]
METRICS = [
    f"{RESULTS}/{dataset}/{scene}/{encoder}/{variant}/seed{seed}/metrics.csv"
    for dataset, scene, encoder, variant, seed in [*RUNS, *LIFTS]
]
LABEL_SCORES = [
    f"{RESULTS}/{dataset}/{scene}/{encoder}/label_scores.csv"
    for dataset, scene, encoder in PLAN.encoded
    if FILES[dataset, scene].labelled
]
AGREEMENT = [
    f"{RESULTS}/{dataset}/{scene}/{encoder}/agreement.csv"
    for dataset, scene, encoder in PLAN.encoded
]
FIGURES = [
    f"{RESULTS}/{dataset}/{scene}/{encoder}/figures" for dataset, scene, encoder in PLAN.encoded
]
WIDE_TABLES = ["components", "per_class", "image_quality", "paper"]
TABLES = expand(f"{RESULTS}/tables/{{table}}.csv", table=["metrics", *WIDE_TABLES])
RUN_RECORDS = f"{RESULTS}/tables/runs.csv"
PAPER_TABLES = [
    f"{RESULTS}/tables/{table}.{kind}"
    for table in [*(f"paper_{number}" for number in CONFIG.paper_tables.tables), "order"]
    for kind in ("csv", "md")
]
PAPER_FIGURES = [
    f"{RESULTS}/{dataset}/{scene}/paper"
    for dataset, scene in dict.fromkeys(run[:2] for run in PLAN.runs)
    if CONFIG.paper_tables.write
]
WANTED_PAPER_TABLES = PAPER_TABLES if CONFIG.paper_tables.write else []
