# The radiance field, the semantic branch on it, and its held-out views.


rule reconstruct:
    input:
        frames=f"{SCENE}/frames.zarr",
    output:
        directory(RADIANCE),
    log:
        f"{LOGS}/reconstruct/{OF_FIELD}.log",
    benchmark:
        f"{BENCHMARKS}/reconstruct/{OF_FIELD}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("reconstruct"),
        runtime=minutes("reconstruct"),
        gpu=GPU,
        checkpoint_minutes=CHECKPOINT_MINUTES,
    params:
        settings=setting("reconstruct"),
        code=code_digest("reconstruct"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf reconstruct "
        "--frames {input.frames} --out {output} "
        "--settings {params.settings:q} "
        "--checkpoint-minutes {resources.checkpoint_minutes} {params.compute} 2>&1 | tee {log}"


rule render_depth:
    input:
        frames=f"{SCENE}/frames.zarr",
        radiance=RADIANCE.replace("{of_seed}", FIELD_SUFFIXES[0]),
    output:
        directory(f"{SCENE}/depth.zarr"),
    log:
        f"{LOGS}/render_depth/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/render_depth/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("render_depth"),
        runtime=minutes("render_depth"),
        gpu=GPU,
    params:
        code=code_digest("render_depth"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf render_depth "
        "--frames {input.frames} --radiance {input.radiance} --out {output} "
        "{params.compute} 2>&1 | tee {log}"


rule train_shared:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        dino=f"{SCENE}/dino.zarr",
        labels=f"{ENCODER}/labels.zarr",
        fused=fused_of(lambda wildcards: JOBS.shared[wildcards.shared]),
        radiance=radiance_of_run,
    output:
        directory(f"{SHARED}/shared"),
    log:
        f"{LOGS}/train_shared/{OF_SHARED}.log",
    benchmark:
        f"{BENCHMARKS}/train_shared/{OF_SHARED}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("train_shared"),
        runtime=minutes("train_shared"),
        gpu=GPU,
        checkpoint_minutes=CHECKPOINT_MINUTES,
    params:
        settings=setting("train_shared"),
        rank_settings=setting("rank_regions"),
        fused=option("fused"),
        code=code_digest("train_shared"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf train_shared "
        "--frames {input.frames} --features {input.features} --dino {input.dino} --labels {input.labels} "
        "--radiance {input.radiance} {params.fused} --seed {wildcards.seed} --out {output} "
        "--settings {params.settings:q} --rank-settings {params.rank_settings:q} "
        "--checkpoint-minutes {resources.checkpoint_minutes} {params.compute} 2>&1 | tee {log}"


rule train_semantics:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        dino=f"{SCENE}/dino.zarr",
        labels=f"{ENCODER}/labels.zarr",
        fused=fused_of(lambda wildcards: VARIANTS[wildcards.variant][0]),
        radiance=radiance_of_run,
        regions=f"{SCENE}/regions.zarr",
        shared=shared_of_variant,
        weights=region_files(),
    output:
        directory(f"{RUN}/semantics"),
    log:
        f"{LOGS}/train_semantics/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/train_semantics/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("train_semantics"),
        runtime=minutes("train_semantics"),
        gpu=GPU,
        checkpoint_minutes=CHECKPOINT_MINUTES,
    params:
        settings=setting("train_semantics"),
        region_settings=setting("propose_regions"),
        rank_settings=setting("rank_regions"),
        fused=option("fused"),
        code=code_digest("train_semantics"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf train_semantics "
        "--frames {input.frames} --features {input.features} --dino {input.dino} --labels {input.labels} "
        "--regions {input.regions} --radiance {input.radiance} --shared {input.shared} "
        "--region-settings {params.region_settings:q} {params.fused} --seed {wildcards.seed} --out {output} "
        "--settings {params.settings:q} --rank-settings {params.rank_settings:q} "
        "--checkpoint-minutes {resources.checkpoint_minutes} {params.compute} 2>&1 | tee {log}"


rule render_views:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        radiance=radiance_of_run,
        semantics=f"{RUN}/semantics",
    output:
        directory(f"{RUN}/views.zarr"),
    log:
        f"{LOGS}/render_views/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/render_views/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("render_views"),
        runtime=minutes("render_views"),
        gpu=GPU,
    params:
        settings=setting("render_views"),
        code=code_digest("render_views"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf render_views "
        "--frames {input.frames} --features {input.features} --radiance {input.radiance} "
        "--semantics {input.semantics} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule lift:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        labels=f"{ENCODER}/labels.zarr",
        radiance=radiance_of_run,
    output:
        directory(f"{ENCODER}/{LIFTED}/seed{{seed}}/views.zarr"),
    log:
        f"{LOGS}/lift/{OF_ENCODER}.seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/lift/{OF_ENCODER}.seed{{seed}}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("lift"),
        runtime=minutes("lift"),
        gpu=GPU,
    params:
        settings=setting("lift"),
        code=code_digest("lift"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf lift "
        "--frames {input.frames} --features {input.features} --labels {input.labels} "
        "--radiance {input.radiance} --seed {wildcards.seed} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
