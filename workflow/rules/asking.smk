# Asking a trained field: its points, phrases, and files for other programs (docs/asking.md).


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


rule query:
    input:
        semantics=f"{RUN}/semantics",
        points=f"{RUN}/points.zarr",
        truth=truth_where_known,
        weights=encoder_files,
    output:
        directory(f"{RUN}/answers"),
    log:
        f"{LOGS}/query/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/query/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("query"),
        runtime=minutes("query"),
    params:
        run=run_folder,
        settings=setting("query"),
        code=code_digest("query"),
        compute=ON_CPU,
    shell:
        "python -m ovnerf query {params.run:q} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule draw_query:
    input:
        semantics=f"{RUN}/semantics",
        points=f"{RUN}/points.zarr",
        features=f"{ENCODER}/features.zarr",
        regions=f"{SCENE}/regions.zarr",
        weights=encoder_files,
    output:
        report(
            directory(f"{RUN}/maps"),
            patterns=["{phrase}.png"],
            caption="../report/maps.rst",
            category="Figures",
            subcategory="{dataset} {scene}",
            labels={"encoder": "{encoder}", "variant": "{variant}", "phrase": "{phrase}"},
        ),
    log:
        f"{LOGS}/draw_query/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/draw_query/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("draw_query"),
        runtime=minutes("draw_query"),
    params:
        run=run_folder,
        settings=setting("draw_query"),
        code=code_digest("draw_query"),
        compute=ON_CPU,
    shell:
        "python -m ovnerf draw_query {params.run:q} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule draw_refreshes:
    input:
        frames=f"{SCENE}/frames.zarr",
        features=f"{ENCODER}/features.zarr",
        dino=f"{SCENE}/dino.zarr",
        labels=f"{ENCODER}/labels.zarr",
        fused=fused_of(lambda wildcards: VARIANTS[wildcards.variant][0]),
        radiance=radiance_of_run,
        regions=f"{SCENE}/regions.zarr",
        shared=shared_of_variant,
        semantics=f"{RUN}/semantics",
        weights=region_files(),
    output:
        report(
            directory(f"{RUN}/refreshes"),
            patterns=["{views}.png"],
            caption="../report/refreshes.rst",
            category="Figures",
            subcategory="{dataset} {scene}",
            labels={"encoder": "{encoder}", "variant": "{variant}", "pseudo labels": "{views}"},
        ),
    log:
        f"{LOGS}/draw_refreshes/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/draw_refreshes/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("draw_refreshes"),
        runtime=minutes("draw_refreshes"),
        gpu=GPU,
        checkpoint_minutes=CHECKPOINT_MINUTES,
    params:
        settings=setting("draw_refreshes"),
        figure_settings=REFRESH_FIGURES,
        region_settings=setting("propose_regions"),
        rank_settings=setting("rank_regions"),
        fused=option("fused"),
        code=code_digest("draw_refreshes"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf draw_refreshes "
        "--frames {input.frames} --features {input.features} --dino {input.dino} --labels {input.labels} "
        "--regions {input.regions} --radiance {input.radiance} --shared {input.shared} --semantics {input.semantics} "
        "--region-settings {params.region_settings:q} {params.fused} --seed {wildcards.seed} --out {output} "
        "--settings {params.settings:q} --rank-settings {params.rank_settings:q} "
        "--figure-settings {params.figure_settings:q} "
        "--checkpoint-minutes {resources.checkpoint_minutes} {params.compute} 2>&1 | tee {log}"


rule export:
    input:
        semantics=f"{RUN}/semantics",
        points=f"{RUN}/points.zarr",
        frames=f"{SCENE}/frames.zarr",
        views=f"{RUN}/views.zarr",
    output:
        directory(f"{RUN}/exported"),
    log:
        f"{LOGS}/export/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/export/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("export"),
        runtime=minutes("export"),
        gpu=GPU,
    params:
        run=run_folder,
        settings=setting("export"),
        code=code_digest("export"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf export {params.run:q} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule write_page:
    input:
        semantics=f"{RUN}/semantics",
        points=f"{RUN}/points.zarr",
        answers=answers_where_asked,
    output:
        report(
            f"{RUN}/view.html",
            caption="../report/page.rst",
            category="Scenes",
            subcategory="{dataset} {scene}",
            labels={"encoder": "{encoder}", "variant": "{variant}", "seed": "{seed}"},
        ),
    log:
        f"{LOGS}/write_page/{OF_RUN}.log",
    benchmark:
        f"{BENCHMARKS}/write_page/{OF_RUN}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("write_page"),
        runtime=minutes("write_page"),
    params:
        run=run_folder,
        answers=option("answers"),
        settings=setting("write_page"),
        code=code_digest("write_page"),
        compute=ON_CPU,
    shell:
        "python -m ovnerf write_page {params.run:q} {params.answers} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
