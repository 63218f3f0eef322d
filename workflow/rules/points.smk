# What a trained field can be asked: its points (docs/asking.md).


rule fuse_points:
    input:
        features=f"{ENCODER}/features.zarr",
        semantics=f"{RUN}/semantics",
    output:
        directory(f"{RUN}/points.zarr"),
    log:
        f"{LOGS}/fuse_points/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/fuse_points/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("fuse_points"),
        runtime=minutes("fuse_points"),
        gpu=GPU,
    params:
        settings=setting("fuse_points"),
        code=code_digest("fuse_points"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf fuse_points "
        "--semantics {input.semantics} --features {input.features} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
