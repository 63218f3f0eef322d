# CLIP pyramid (per encoder; in several jobs where `cache_clip.parts` says so) and DINO tokens (per scene).


rule cache_clip_part:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_of_simulated,
        weights=encoder_files,
    output:
        temp(directory(f"{ENCODER}/clip-parts/{{part}}.zarr")),
    log:
        f"{LOGS}/cache_clip_part/{OF_ENCODER}.{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/cache_clip_part/{OF_ENCODER}.{{part}}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(360),
        gpu=GPU,
    params:
        settings=setting("cache_clip"),
        truth=option("truth"),
        code=code_digest("cache_clip_part"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf cache_clip_part "
        "--part {wildcards.part} --frames {input.frames} {params.truth} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule cache_clip:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_of_simulated,
        weights=encoder_files,
        parts=clip_parts,
    output:
        directory(f"{ENCODER}/clip.zarr"),
    log:
        f"{LOGS}/cache_clip/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/cache_clip/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(360),
        gpu=GPU if CLIP_PARTS == 1 else 0,
    params:
        settings=setting("cache_clip"),
        truth=option("truth"),
        parts=option("parts"),
        code=code_digest("cache_clip"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf cache_clip "
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
        mem_mb=growing(8000),
        runtime=growing(120),
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
