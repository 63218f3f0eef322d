# What a reader looks at: figures of each scene, tables of all scores.


rule draw_figures:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_where_known,
        labels=f"{ENCODER}/labels.zarr",
        views=of_variants("views.zarr", CONFIG.seeds[:1]),
        semantics=of_variants("semantics", CONFIG.seeds[:1]),
        metrics=of_variants("metrics.csv", CONFIG.seeds),
        label_scores=label_scores_where_known,
    output:
        report(
            directory(f"{ENCODER}/figures"),
            patterns=["{figure}.png"],
            caption="../report/figures.rst",
            category="Figures",
            subcategory="{dataset} {scene}",
            labels={"encoder": "{encoder}", "figure": "{figure}"},
        ),
    log:
        f"{LOGS}/draw_figures/{OF_ENCODER}.log",
    benchmark:
        f"{BENCHMARKS}/draw_figures/{OF_ENCODER}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("draw_figures"),
        runtime=minutes("draw_figures"),
    params:
        names=lambda wildcards: ",".join(variants_here(wildcards)),
        truth=option("truth"),
        train=lambda wildcards, input: [f"{folder}/train.csv" for folder in input.semantics],
        code=code_digest("draw_figures"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf draw_figures "
        "--frames {input.frames} {params.truth} --labels {input.labels} "
        "--names {params.names} --views {input.views} --train {params.train} "
        "--metrics {input.metrics} {input.label_scores} --out {output} "
        "{params.compute} 2>&1 | tee {log}"


rule draw_paper:
    input:
        frames=f"{SCENE}/frames.zarr",
        truth=truth_where_known,
        views=views_here,
    output:
        report(
            directory(f"{SCENE}/paper"),
            patterns=["{figure}.png"],
            caption="../report/draw_paper.rst",
            category="Figures of the paper",
            subcategory="{dataset} {scene}",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{LOGS}/draw_paper/{OF_SCENE}.log",
    benchmark:
        f"{BENCHMARKS}/draw_paper/{OF_SCENE}.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("draw_paper"),
        runtime=minutes("draw_paper"),
    params:
        names=lambda wildcards: ",".join("/".join(run) for run in runs_here(wildcards)),
        truth=option("truth"),
        settings=setting("draw_paper"),
        code=code_digest("draw_paper"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf draw_paper "
        "--frames {input.frames} {params.truth} --views {input.views} "
        "--names {params.names} --out {output} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"


rule aggregate:
    input:
        metrics=METRICS + LABEL_SCORES + AGREEMENT,
    output:
        metrics=f"{RESULTS}/tables/metrics.csv",
        summary=f"{RESULTS}/tables/summary.md",
        wide=report(
            expand(f"{RESULTS}/tables/{{table}}.csv", table=WIDE_TABLES),
            caption="../report/tables.rst",
            category="Tables",
        ),
    log:
        f"{LOGS}/aggregate/all.log",
    benchmark:
        f"{BENCHMARKS}/aggregate/all.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("aggregate"),
        runtime=minutes("aggregate"),
    params:
        folder=subpath(output.metrics, parent=True),
        about=about_the_run(),
        code=code_digest("aggregate"),
        published=PUBLISHED,
        compute=COMPUTE,
    shell:
        "python -m ovnerf aggregate "
        "--metrics {input.metrics} --about {params.about:q} --out {params.folder} "
        "{params.compute} 2>&1 | tee {log}"


rule summarise_runs:
    input:
        TABLES,
        WANTED_PAPER_TABLES,
        PAPER_FIGURES,
        FIGURES,
        ASKED,
    output:
        table=f"{RESULTS}/tables/runs.csv",
        chart=report(
            f"{RESULTS}/tables/time_and_memory.png",
            caption="../report/runs.rst",
            category="Runs",
        ),
    log:
        f"{LOGS}/summarise_runs/all.log",
    benchmark:
        f"{BENCHMARKS}/summarise_runs/all.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("summarise_runs"),
        runtime=minutes("summarise_runs"),
    params:
        logs=LOGS,
        benchmarks=BENCHMARKS,
        code=code_digest("summarise_runs"),
        compute=COMPUTE,
    shell:
        "python -m ovnerf summarise_runs "
        "--logs {params.logs} --benchmarks {params.benchmarks} "
        "--chart {output.chart} --out {output.table} "
        "{params.compute} 2>&1 | tee {log}"


rule paper_tables:
    input:
        metrics=f"{RESULTS}/tables/metrics.csv",
    output:
        report(
            PAPER_TABLES,
            caption="../report/paper_tables.rst",
            category="Tables",
            subcategory="Of the paper",
        ),
    log:
        f"{LOGS}/paper_tables/all.log",
    benchmark:
        f"{BENCHMARKS}/paper_tables/all.tsv"
    conda:
        "../../envs/ovnerf.yaml"
    threads: THREADS
    resources:
        mem_mb=memory("paper_tables"),
        runtime=minutes("paper_tables"),
    params:
        folder=subpath(output[0], parent=True),
        settings=setting("paper_tables"),
        code=code_digest("paper_tables"),
        published=PUBLISHED,
        compute=COMPUTE,
    shell:
        "python -m ovnerf paper_tables "
        "--metrics {input.metrics} --out {params.folder} "
        "--settings {params.settings:q} "
        "{params.compute} 2>&1 | tee {log}"
