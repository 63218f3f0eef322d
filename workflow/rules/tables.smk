# What a reader looks at: tables of all scores, figures of each scene.


rule draw_figures:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_where_known,
        labels=f"{ENCODER}/labels.zarr",
        views=views_of_variants,
    output:
        directory(f"{ENCODER}/figures"),
    log:
        f"{LOGS}/draw_figures/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/draw_figures/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        names=",".join(VARIANTS),
        truth=option("truth"),
        code=code_digest("draw_figures"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf draw_figures "
        "--frames {input.frames} {params.truth} --labels {input.labels} "
        "--views {input.views} --names {params.names} --out {output} "
        "{params.compute} 2>&1 | tee {log}"


rule aggregate:
    input:
        metrics=METRICS + LABEL_SCORES,
    output:
        directory(TABLES),
    log:
        f"{LOGS}/aggregate/all.log",
    benchmark:
        f"{BENCHMARKS}/aggregate/all.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("aggregate"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf aggregate "
        "--metrics {input.metrics} --out {output} "
        "{params.compute} 2>&1 | tee {log}"
