# CLIP pyramid (per encoder; in several jobs where `cache_features.parts` says so) and DINO tokens (per scene).


rule cache_features_part:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_of_simulated,
        weights=encoder_files,
    output:
        temp(directory(f"{ENCODER}/feature-parts/{{part}}.zarr")),
    log:
        f"{LOGS}/cache_features_part/{OF_ENCODER}.{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/cache_features_part/{OF_ENCODER}.{{part}}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("cache_features_part"),
        runtime=minutes("cache_features_part"),
        gpu=GPU,
    params:
        settings=setting("cache_features"),
        truth=option("truth"),
        code=code_digest("cache_features_part"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf cache_features_part "
        "--part {wildcards.part} --frames {input.frames} {params.truth} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule cache_features:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_of_simulated,
        weights=encoder_files,
        parts=feature_parts,
    output:
        directory(f"{ENCODER}/features.zarr"),
    log:
        f"{LOGS}/cache_features/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/cache_features/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("cache_features"),
        runtime=minutes("cache_features"),
        gpu=GPU if FEATURE_PARTS == 1 else 0,
    params:
        settings=setting("cache_features"),
        truth=option("truth"),
        parts=option("parts"),
        code=code_digest("cache_features"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf cache_features "
        "--frames {input.frames} {params.truth} {params.parts} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule cache_dino:
    input:
        frames=f"{SCENE}/frames.zarr",
        weights=section_files(CONFIG.cache_dino),
    output:
        directory(f"{SCENE}/dino.zarr"),
    log:
        f"{LOGS}/cache_dino/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/cache_dino/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("cache_dino"),
        runtime=minutes("cache_dino"),
        gpu=GPU,
    params:
        settings=setting("cache_dino"),
        code=code_digest("cache_dino"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf cache_dino "
        "--frames {input.frames} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
