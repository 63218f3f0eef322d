# Region proposals of the training views.


rule propose_regions:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_of_true_regions,
        weights=region_files(),
    output:
        directory(f"{SCENE}/regions.zarr"),
    log:
        f"{LOGS}/propose_regions/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/propose_regions/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("propose_regions"),
        runtime=minutes("propose_regions"),
        gpu=GPU * CONFIG.propose_regions.reads_weights,
    params:
        settings=setting("propose_regions"),
        truth=option("truth"),
        code=code_digest("propose_regions"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf propose_regions "
        "--frames {input.frames} {params.truth} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
