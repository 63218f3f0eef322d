# Scores of the held-out views.


rule evaluate:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_where_known,
        views=f"{RUN}/views.zarr",
    output:
        f"{RUN}/metrics.csv",
    log:
        f"{LOGS}/evaluate/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{OF_RUN}.tsv"
    wildcard_constraints:
        variant=one_of([*VARIANTS, LIFTED]),  # the one thing that is made of views without a training
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("evaluate"),
        runtime=minutes("evaluate"),
    params:
        truth=option("truth"),
        radiance_seed=radiance_seed_option,
        code=code_digest("evaluate"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf evaluate "
        "--frames {input.frames} --views {input.views} {params.truth} "
        "--dataset {wildcards.dataset} --scene {wildcards.scene} --encoder {wildcards.encoder} "
        "--variant {wildcards.variant} --seed {wildcards.seed} {params.radiance_seed} --out {output} "
        "{params.compute} 2>&1 | tee {log}"
