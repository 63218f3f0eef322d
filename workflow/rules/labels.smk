# Relevancy labels, region semantic ranking, labels fused over views, and how good they are.


rule rank_regions:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        regions=f"{SCENE}/regions.zarr",
    output:
        directory(f"{ENCODER}/labels.zarr"),
    log:
        f"{LOGS}/rank_regions/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/rank_regions/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("rank_regions"),
        runtime=minutes("rank_regions"),
    params:
        settings=setting("rank_regions"),
        code=code_digest("rank_regions"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf rank_regions "
        "--frames {input.frames} --features {input.features} --regions {input.regions} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule fuse_labels:
    input:
        frames=f"{SCENE}/frames.zarr",
        depth=f"{SCENE}/depth.zarr",
        labels=f"{ENCODER}/labels.zarr",
        regions=f"{SCENE}/regions.zarr",
    output:
        directory(f"{ENCODER}/fused.zarr"),
    log:
        f"{LOGS}/fuse_labels/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/fuse_labels/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("fuse_labels"),
        runtime=minutes("fuse_labels"),
    params:
        code=code_digest("fuse_labels"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf fuse_labels "
        "--frames {input.frames} --depth {input.depth} "
        "--labels {input.labels} --regions {input.regions} --out {output} "
        "{params.compute} 2>&1 | tee {log}"


rule score_labels:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=f"{SCENE}/truth.zarr",
        labels=f"{ENCODER}/labels.zarr",
        regions=f"{SCENE}/regions.zarr",
        fused=fused_where_wanted,
    output:
        f"{ENCODER}/label_scores.csv",
    log:
        f"{LOGS}/score_labels/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/score_labels/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("score_labels"),
        runtime=minutes("score_labels"),
    params:
        rank_settings=setting("rank_regions"),
        fused=option("fused"),
        code=code_digest("score_labels"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf score_labels "
        "--frames {input.frames} --truth {input.truth} "
        "--labels {input.labels} --regions {input.regions} {params.fused} "
        "--rank-settings {params.rank_settings:q} "
        "--dataset {wildcards.dataset} --scene {wildcards.scene} --encoder {wildcards.encoder} --out {output} "
        "{params.compute} 2>&1 | tee {log}"


rule score_agreement:
    input:
        frames=f"{SCENE}/frames.zarr",
        depth=f"{SCENE}/depth.zarr",
        labels=f"{ENCODER}/labels.zarr",
        fused=fused_where_wanted,
    output:
        f"{ENCODER}/agreement.csv",
    log:
        f"{LOGS}/score_agreement/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/score_agreement/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("score_agreement"),
        runtime=minutes("score_agreement"),
    params:
        fused=option("fused"),
        code=code_digest("score_agreement"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf score_agreement "
        "--frames {input.frames} --depth {input.depth} --labels {input.labels} {params.fused} "
        "--dataset {wildcards.dataset} --scene {wildcards.scene} --encoder {wildcards.encoder} --out {output} "
        "{params.compute} 2>&1 | tee {log}"
